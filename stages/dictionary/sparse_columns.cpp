#include "stages/dictionary/sparse_columns.hpp"

#include <ATen/Parallel.h>

#include "stages/dictionary/runs.hpp"

namespace quench::dictionary {

SparseRows by_row(const SparseColumns& sparse, std::int64_t row_count) {
  const auto entries = sparse.rows.size();
  SparseRows out{std::vector<std::int64_t>(row_count + 1, 0), std::vector<std::int32_t>(entries),
                 std::vector<float>(entries)};
  for (const auto row : sparse.rows) ++out.offsets[row + 1];
  for (std::int64_t r = 0; r < row_count; ++r) out.offsets[r + 1] += out.offsets[r];
  auto next = out.offsets;
  for (std::int64_t k = 0; k < sparse.columns(); ++k) {
    for (auto i = sparse.offsets[k]; i < sparse.offsets[k + 1]; ++i) {
      const auto place = next[sparse.rows[i]]++;
      out.columns[place] = static_cast<std::int32_t>(k);
      out.values[place] = sparse.values[i];
    }
  }
  return out;
}

at::Tensor product(const Rows& rows, const SparseColumns& sparse) {
  const auto width = rows.width();
  auto out = at::zeros({sparse.columns(), width}, at::kDouble);
  double* sums = out.mutable_data_ptr<double>();
  for_each_run(
      sparse.columns(), rows.count(), width, [&](std::int64_t k) { return sparse.rows_of(k); },
      [&](std::int64_t k, std::size_t begin, std::size_t end) {
        rows.add_weighted(sparse.rows_of(k).subspan(begin, end - begin),
                          sparse.values.data() + sparse.offsets[k] + begin, sums + k * width);
      });
  if (rows.scale() != 1) out.mul_(rows.scale());
  return out;
}

// Line k is gathered from the rows of column k's entries; the lines stay in the innermost cache.
at::Tensor gram(const SparseColumns& sparse, const SparseRows& by_row) {
  const auto columns = sparse.columns();
  auto out = at::zeros({columns, columns}, at::kDouble);
  double* sums = out.mutable_data_ptr<double>();
  at::parallel_for(0, columns, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto k = begin; k < end; ++k) {
      double* line = sums + k * columns;
      for (auto i = sparse.offsets[k]; i < sparse.offsets[k + 1]; ++i) {
        const double value = sparse.values[i];
        const auto row = sparse.rows[i];
        for (auto j = by_row.offsets[row]; j < by_row.offsets[row + 1]; ++j)
          line[by_row.columns[j]] += value * static_cast<double>(by_row.values[j]);
      }
    }
  });
  return out;
}

}  // namespace quench::dictionary
