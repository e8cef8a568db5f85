#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "stages/dictionary/winners.hpp"

// The search for large entries of A^T F~ in one pass over the rows, none of which is kept. Local.
namespace quench::dictionary {

class Search {
 public:
  virtual ~Search() = default;
  // Of each of the columns: the rows i with |<a_i, f_k>| >= least[k], ascending, and these products
  // in float32; what found held of these columns before is replaced. vectors: F~^T [K, d] float32.
  virtual void collect(const at::Tensor& vectors, const std::vector<std::int64_t>& columns,
                       const std::vector<float>& least, Candidates& found) = 0;
};

// Panels of float32 rows times the vectors, compared while they are in the cache. Or, where rows
// and processor have them, products of bfloat16: with h the vector rounded to bfloat16,
// |<a, f> - <a, h>| <= ||a|| ||f - h|| (Cauchy and Schwarz), so that only rows for which <a, h> is
// within that of the threshold are made again in float32.
std::unique_ptr<Search> make_search(const Rows& rows);

}  // namespace quench::dictionary
