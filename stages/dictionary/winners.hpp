#pragma once

#include <cstdint>
#include <vector>

#include "cluster/communicator.hpp"
#include "stages/dictionary/sparse_columns.hpp"

// Winner-take-all by column over all ranks of a group.
namespace quench::dictionary {

// Per column, entries of this rank among which are all of its winners; rows ascending.
struct Candidates {
  std::vector<std::vector<std::int32_t>> rows;  // [K]
  std::vector<std::vector<float>> values;

  explicit Candidates(std::int64_t columns = 0) : rows(columns), values(columns) {}
  std::int64_t columns() const { return static_cast<std::int64_t>(rows.size()); }
  void clear(std::int64_t column);
  // Drops the column's entries of magnitude below `least`.
  void drop_below(std::int64_t column, float least);
  // Keeps the column's `most` entries of largest magnitude, ties to the lower row.
  void keep_most(std::int64_t column, std::int64_t most);
};

// Local. Sets values[k][i] = <row rows[k][i], vector k> of some columns; vectors: [K, d] float32.
void compute_values(const Rows& rows, const at::Tensor& vectors,
                    const std::vector<std::int64_t>& columns, Candidates& candidates);

// Collective. Of every column the `kept` entries of largest magnitude over all ranks, exactly, ties
// to the lower global row (ranks hold ascending ranges of rows). The candidates of all ranks
// together must be at least `kept` a column. Bytes sent do not depend on the number of rows.
SparseColumns keep_largest(const Candidates& candidates, std::int64_t kept,
                           cluster::Communicator& comm);

}  // namespace quench::dictionary
