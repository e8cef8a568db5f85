#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace quench::dictionary {

// Visits sparse entries by runs: those of one column in one panel of rows. A thread takes a block
// of columns and goes over the panels, so that the rows of a panel and what belongs to the columns
// both stay in its second cache, and rows are read from memory in order. rows_of(column): the rows
// of its entries, ascending; visit(column, begin, end): entries [begin, end) of the column. A
// column's runs come in order, on one thread. row_bytes, column_bytes: of a row, and of what
// belongs to a column.
template <typename RowsOf, typename Visit>
void for_each_run(std::int64_t columns, std::int64_t row_count, std::int64_t row_bytes,
                  std::int64_t column_bytes, const RowsOf& rows_of, const Visit& visit) {
  constexpr std::int64_t cache = std::int64_t{1} << 19;  // for each of the two
  const auto block = std::max<std::int64_t>(1, cache / column_bytes);
  const auto panel = std::max<std::int64_t>(1, cache / row_bytes);
  at::parallel_for(0, columns, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::size_t> next;
    for (auto first = begin; first < end; first += block) {
      const auto last = std::min(end, first + block);
      next.assign(last - first, 0);
      for (std::int64_t row = 0; row < row_count; row += panel) {
        for (auto k = first; k < last; ++k) {
          const std::span<const std::int32_t> rows = rows_of(k);
          const auto from = next[k - first];
          auto to = from;
          while (to < rows.size() && rows[to] < row + panel) ++to;
          if (to > from) visit(k, from, to);
          next[k - first] = to;
        }
      }
    }
  });
}

}  // namespace quench::dictionary
