#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <vector>

// Columns of G after winner-take-all, and what the factorisation computes with them. Local.
namespace quench::dictionary {

// K columns of m entries each, as Factors holds them.
struct SparseColumns {
  std::int64_t columns = 0;        // K
  std::int64_t entries = 0;        // m, of each column
  std::vector<std::int32_t> rows;  // [K, m], ascending a column
  std::vector<float> values;       // [K, m]
  std::vector<float> least_kept;   // [K]: least |value| of a column; the next search starts here
};

SparseColumns make_sparse_columns(std::int64_t columns, std::int64_t entries);

// Column `column` of `sparse` becomes the entries of largest magnitude of `dense` (one number a
// row, at least sparse.entries of them); ties go to the lower row. Exactly sparse.entries are kept.
void keep_largest(std::span<const float> dense, std::int64_t column, SparseColumns& sparse);

// (A G)^T, [K, d] float64, from A^T ([n, d] float32).
at::Tensor product(const at::Tensor& transposed, const SparseColumns& sparse);

// G^T G, [K, K] float64; `row_count` is n.
at::Tensor gram(const SparseColumns& sparse, std::int64_t row_count);

}  // namespace quench::dictionary
