#include "stages/dictionary/sparse_columns.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <bit>
#include <functional>

namespace quench::dictionary {

namespace {

// Orders as |value| does; positive for everything but zero.
std::uint32_t magnitude_bits(float value) {
  return std::bit_cast<std::uint32_t>(value) & 0x7fffffffU;
}

std::vector<std::uint32_t> magnitudes_from(std::span<const float> dense, std::uint32_t least) {
  std::vector<std::uint32_t> bits(dense.size());
  std::size_t count = 0;
  for (const float value : dense) {
    bits[count] = magnitude_bits(value);
    count += bits[count] >= least ? 1 : 0;
  }
  bits.resize(count);
  return bits;
}

// The magnitude of the entry of rank `kept` (1: the largest). Entries below a guess taken from the
// last search cannot matter when enough of the others are left.
std::uint32_t threshold_of(std::span<const float> dense, std::int64_t kept, float last) {
  constexpr float slack = 0.75F;  // columns change by a few per cent an iteration
  auto bits = magnitudes_from(dense, magnitude_bits(last * slack));
  if (static_cast<std::int64_t>(bits.size()) < kept) bits = magnitudes_from(dense, 0);
  std::nth_element(bits.begin(), bits.begin() + (kept - 1), bits.end(), std::greater<>());
  return bits[kept - 1];
}

// Entries of G by row: those of row r are [offsets[r], offsets[r + 1]).
struct ByRow {
  std::vector<std::int64_t> offsets;
  std::vector<std::int32_t> columns;
  std::vector<float> values;
};

ByRow by_row(const SparseColumns& sparse, std::int64_t row_count) {
  ByRow out{std::vector<std::int64_t>(row_count + 1, 0),
            std::vector<std::int32_t>(sparse.rows.size()), std::vector<float>(sparse.rows.size())};
  for (const auto row : sparse.rows) ++out.offsets[row + 1];
  for (std::int64_t r = 0; r < row_count; ++r) out.offsets[r + 1] += out.offsets[r];
  auto next = out.offsets;
  for (std::size_t i = 0; i < sparse.rows.size(); ++i) {
    const auto place = next[sparse.rows[i]]++;
    out.columns[place] = static_cast<std::int32_t>(static_cast<std::int64_t>(i) / sparse.entries);
    out.values[place] = sparse.values[i];
  }
  return out;
}

}  // namespace

SparseColumns make_sparse_columns(std::int64_t columns, std::int64_t entries) {
  return {columns, entries, std::vector<std::int32_t>(columns * entries),
          std::vector<float>(columns * entries), std::vector<float>(columns, 0.0F)};
}

void keep_largest(std::span<const float> dense, std::int64_t column, SparseColumns& sparse) {
  const auto kept = sparse.entries;
  const auto threshold = threshold_of(dense, kept, sparse.least_kept[column]);
  std::int64_t above = 0;
  for (const float value : dense) above += magnitude_bits(value) > threshold ? 1 : 0;
  std::int64_t ties = kept - above;
  std::int64_t place = column * kept;
  for (std::size_t row = 0; row < dense.size(); ++row) {
    const auto bits = magnitude_bits(dense[row]);
    if (bits < threshold || (bits == threshold && ties-- <= 0)) continue;
    sparse.rows[place] = static_cast<std::int32_t>(row);
    sparse.values[place++] = dense[row];
  }
  sparse.least_kept[column] = std::bit_cast<float>(threshold);
}

at::Tensor product(const at::Tensor& transposed, const SparseColumns& sparse) {
  const auto width = transposed.size(1);
  const float* a = transposed.const_data_ptr<float>();
  auto out = at::zeros({sparse.columns, width}, at::kDouble);
  double* sums = out.mutable_data_ptr<double>();
  at::parallel_for(0, sparse.columns, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * sparse.entries; i < end * sparse.entries; ++i) {
      const float* row = a + sparse.rows[i] * width;
      double* sum = sums + i / sparse.entries * width;
      const double value = sparse.values[i];
      for (std::int64_t j = 0; j < width; ++j) sum[j] += value * row[j];
    }
  });
  return out;
}

at::Tensor gram(const SparseColumns& sparse, std::int64_t row_count) {
  const auto rows = by_row(sparse, row_count);
  auto out = at::zeros({sparse.columns, sparse.columns}, at::kDouble);
  double* sums = out.mutable_data_ptr<double>();
  for (std::int64_t r = 0; r < row_count; ++r) {
    for (auto i = rows.offsets[r]; i < rows.offsets[r + 1]; ++i) {
      double* line = sums + rows.columns[i] * sparse.columns;
      const double value = rows.values[i];
      for (auto j = rows.offsets[r]; j < rows.offsets[r + 1]; ++j)
        line[rows.columns[j]] += value * rows.values[j];
    }
  }
  return out;
}

}  // namespace quench::dictionary
