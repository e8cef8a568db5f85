#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "cluster/communicator.hpp"
#include "stages/dictionary/winners.hpp"

// The dense step G = A^T F~ of an iteration, of which only the entries that can win are kept.
namespace quench::dictionary {

class Projection {
 public:
  virtual ~Projection() = default;

  // Collective. solver: F~^T, [K, d] float32, the same on all ranks. last: the winners of the
  // iteration before, none (no columns) in the first. Over all ranks the candidates hold at least
  // `kept` entries a column and every one that is among the `kept` largest.
  virtual const Candidates& screen(const at::Tensor& solver, const SparseColumns& last) = 0;
  // Of the entries of A^T F~, the share that the last call computed.
  virtual double share_computed() const = 0;
};

// One pass over the rows compares their products with a guess of each column's threshold: the n x K
// numbers never exist together (search.hpp). A guess that proves too high is lowered and its
// columns are done again.
std::unique_ptr<Projection> make_streamed_projection(const Rows& rows, std::int64_t columns,
                                                     std::int64_t kept,
                                                     cluster::Communicator& comm);

// Keeps the n x K numbers of earlier iterations, each column's with the vector f that it was made
// from. By Cauchy and Schwarz |<a, f'>| <= |c <a, f>| + ||a|| ||f' - c f||, c the best multiple: an
// entry whose bound is below what the winners of the last iteration reach now cannot win and is not
// computed. A column with too many others is made anew. Exact, but for rounding at ties.
std::unique_ptr<Projection> make_bounded_projection(const Rows& rows, std::int64_t columns,
                                                    std::int64_t kept, cluster::Communicator& comm);

}  // namespace quench::dictionary
