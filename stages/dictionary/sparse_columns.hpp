#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <vector>

#include "stages/dictionary/rows.hpp"

// The rows of G that one rank holds, after winner-take-all, and what is computed with them. Local.
namespace quench::dictionary {

// K columns; over all ranks each has exactly m entries, here any number of them.
struct SparseColumns {
  std::vector<std::int64_t> offsets{0};  // [K + 1]
  std::vector<std::int32_t> rows;        // local, ascending a column
  std::vector<float> values;
  std::vector<float> least_kept;  // [K]: least |value| of a column over all ranks

  std::int64_t columns() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  std::span<const std::int32_t> rows_of(std::int64_t column) const {
    return std::span(rows).subspan(offsets[column], offsets[column + 1] - offsets[column]);
  }
};

// The same entries by row: those of row r are [offsets[r], offsets[r + 1]), columns ascending.
struct SparseRows {
  std::vector<std::int64_t> offsets;
  std::vector<std::int32_t> columns;
  std::vector<float> values;
};
SparseRows by_row(const SparseColumns& sparse, std::int64_t row_count);

// This rank's part of (A G)^T, [K, d] float64, scaled.
at::Tensor product(const Rows& rows, const SparseColumns& sparse);

// This rank's part of G^T G, [K, K] float64.
at::Tensor gram(const SparseColumns& sparse, const SparseRows& by_row);

}  // namespace quench::dictionary
