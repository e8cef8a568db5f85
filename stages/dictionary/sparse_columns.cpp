#include "stages/dictionary/sparse_columns.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <utility>

#include "stages/dictionary/runs.hpp"

namespace quench::dictionary {

namespace {

// The entries of each column in the rows [begin, end): [K] first, [K] past the last.
std::vector<std::pair<std::int64_t, std::int64_t>> entries_in(const SparseColumns& sparse,
                                                              std::int64_t begin,
                                                              std::int64_t end) {
  std::vector<std::pair<std::int64_t, std::int64_t>> out;
  for (std::int64_t k = 0; k < sparse.columns(); ++k) {
    const auto rows = sparse.rows_of(k);
    const auto place = [&](std::int64_t row) {
      return sparse.offsets[k] +
             (std::ranges::lower_bound(rows, static_cast<std::int32_t>(row)) - rows.begin());
    };
    out.emplace_back(place(begin), place(end));
  }
  return out;
}

}  // namespace

// Panels of rows, whose entries a cache holds, are sorted on their own.
SparseRows by_row(const SparseColumns& sparse, std::int64_t row_count) {
  constexpr std::int64_t panel = 4096;
  const auto count = sparse.rows.size();
  SparseRows out{std::vector<std::int64_t>(row_count + 1), std::vector<std::int32_t>(count),
                 std::vector<float>(count)};
  out.offsets[row_count] = static_cast<std::int64_t>(count);
  at::parallel_for(
      0, (row_count + panel - 1) / panel, 1, [&](std::int64_t first, std::int64_t last) {
        for (auto begin = first * panel; begin < std::min(row_count, last * panel);
             begin += panel) {
          const auto end = std::min(row_count, begin + panel);
          const auto entries = entries_in(sparse, begin, end);
          std::vector<std::int64_t> next(end - begin + 1, 0);
          for (std::int64_t k = 0; k < sparse.columns(); ++k) {
            next[0] += entries[k].first - sparse.offsets[k];  // those of the rows before
            for (auto i = entries[k].first; i < entries[k].second; ++i)
              ++next[sparse.rows[i] - begin + 1];
          }
          for (auto r = begin; r < end; ++r) {
            out.offsets[r] = next[r - begin];
            next[r - begin + 1] += next[r - begin];
          }
          for (std::int64_t k = 0; k < sparse.columns(); ++k) {
            for (auto i = entries[k].first; i < entries[k].second; ++i) {
              const auto place = next[sparse.rows[i] - begin]++;
              out.columns[place] = static_cast<std::int32_t>(k);
              out.values[place] = sparse.values[i];
            }
          }
        }
      });
  return out;
}

at::Tensor product(const Rows& rows, const SparseColumns& sparse) {
  const auto width = rows.width();
  auto out = at::zeros({sparse.columns(), width}, at::kDouble);
  double* sums = out.mutable_data_ptr<double>();
  for_each_run(
      sparse.columns(), rows.count(), rows.row_bytes(), width * 8,
      [&](std::int64_t k) { return sparse.rows_of(k); },
      [&](std::int64_t k, std::size_t begin, std::size_t end) {
        rows.add_weighted(sparse.rows_of(k).subspan(begin, end - begin),
                          sparse.values.data() + sparse.offsets[k] + begin, sums + k * width);
      });
  if (rows.scale() != 1) out.mul_(rows.scale());
  return out;
}

// Line k is gathered from the rows of column k's entries.
at::Tensor gram(const SparseColumns& sparse, const SparseRows& by_row) {
  const auto columns = sparse.columns();
  const auto row_count = std::ssize(by_row.offsets) - 1;
  const auto row_bytes = 8 * (1 + std::ssize(sparse.rows) / std::max<std::int64_t>(1, row_count));
  auto out = at::zeros({columns, columns}, at::kDouble);
  double* sums = out.mutable_data_ptr<double>();
  for_each_run(
      columns, row_count, row_bytes, columns * 8, [&](std::int64_t k) { return sparse.rows_of(k); },
      [&](std::int64_t k, std::size_t begin, std::size_t end) {
        double* line = sums + k * columns;
        const auto* rows = sparse.rows.data() + sparse.offsets[k];
        const auto* values = sparse.values.data() + sparse.offsets[k];
        for (auto i = begin; i < end; ++i) {
          const double value = values[i];
          for (auto j = by_row.offsets[rows[i]]; j < by_row.offsets[rows[i] + 1]; ++j)
            line[by_row.columns[j]] += value * static_cast<double>(by_row.values[j]);
        }
      });
  return out;
}

}  // namespace quench::dictionary
