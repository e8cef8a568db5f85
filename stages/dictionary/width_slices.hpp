#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "cluster/communicator.hpp"

namespace quench::dictionary {

// Matrices [K, d] whose columns the ranks of a group share out, so that a system with K d unknowns
// is solved by all ranks together: reduce() and gather() send as much as one all_reduce.
class WidthSlices {
 public:
  WidthSlices(std::int64_t width, cluster::Communicator& group);

  // Collective. Columns of this rank, [K, own], of the sum over ranks of `parts` ([K, d] float64).
  at::Tensor reduce(const at::Tensor& parts) const;
  // Collective. [K, d] float64 from the columns of each rank.
  at::Tensor gather(const at::Tensor& own) const;

 private:
  std::vector<std::int64_t> counts_of(std::int64_t rows) const;

  cluster::Communicator& group_;
  std::vector<std::int64_t> begins_;  // [ranks + 1]
};

}  // namespace quench::dictionary
