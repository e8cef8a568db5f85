#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>

#include "cluster/communicator.hpp"
#include "stages/dictionary/cost_model.hpp"

// Inside device_*.cpp only.
namespace quench::dictionary {

// Collective: `values`, contiguous, becomes the sum over ranks. Enqueues and returns.
inline void sum_over_ranks(at::Tensor& values, cluster::Communicator& comm) {
  if (comm.size() == 1) return;
  const auto type = values.scalar_type() == at::kDouble ? cluster::DType::f64 : cluster::DType::i64;
  comm.all_reduce({values.data_ptr(), values.numel(), type}, cluster::Op::sum);
}

// Columns to work on at a time, each of which takes so many bytes for a while.
inline std::int64_t columns_a_block(std::int64_t bytes_a_column) {
  return std::max<std::int64_t>(1, device_block_bytes / std::max<std::int64_t>(1, bytes_a_column));
}

}  // namespace quench::dictionary
