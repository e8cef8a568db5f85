#include "stages/dictionary/gather.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cluster/collectives.hpp"

namespace quench::dictionary {

namespace {

// Calls visit(begin, end) for blocks of columns.
template <typename Visit>
void for_each_block(std::int64_t columns, const Visit& visit) {
  for (std::int64_t begin = 0; begin < columns; begin += columns_at_a_time)
    visit(begin, std::min(begin + columns_at_a_time, columns));
}

// Collective. Adds the columns [begin, end) of all ranks to rank 0's `out`; `rows` are global ones.
void gather_block(const SparseColumns& local, std::span<const std::int32_t> rows,
                  std::int64_t begin, std::int64_t end, cluster::Communicator& group,
                  WholeColumns& out) {
  const auto first = local.offsets[begin], count = local.offsets[end] - first;
  const auto all_offsets = cluster::all_gather(
      group, std::span<const std::int64_t>(local.offsets).subspan(begin, end - begin + 1));
  const auto all_rows = cluster::all_gather(group, rows.subspan(first, count));
  const auto all_values =
      cluster::all_gather(group, std::span<const float>(local.values).subspan(first, count));
  if (group.rank() != 0) return;
  for (std::int64_t k = 0; k < end - begin; ++k) {
    for (int rank = 0; rank < group.size(); ++rank) {
      const auto offsets = all_offsets.of(rank);
      const auto from = offsets[k] - offsets[0], length = offsets[k + 1] - offsets[k];
      const auto piece = all_rows.of(rank).subspan(from, length);
      const auto numbers = all_values.of(rank).subspan(from, length);
      out.first.insert(out.first.end(), piece.begin(), piece.end());
      out.second.insert(out.second.end(), numbers.begin(), numbers.end());
    }
  }
}

// Adds to `out` the rows `own` of columns of `kept` entries each.
void add_rows(std::span<const std::int32_t> rows, std::span<const float> values, std::int64_t kept,
              cluster::Range own, SparseColumns& out) {
  for (std::int64_t first = 0; first < std::ssize(rows); first += kept) {
    float least = std::numeric_limits<float>::infinity();
    for (auto i = first; i < first + kept; ++i) {
      least = std::min(least, std::abs(values[i]));
      if (rows[i] < own.begin || rows[i] >= own.end) continue;
      out.rows.push_back(static_cast<std::int32_t>(rows[i] - own.begin));
      out.values.push_back(values[i]);
    }
    out.offsets.push_back(std::ssize(out.rows));
    out.least_kept.push_back(least);
  }
}

}  // namespace

WholeColumns gather(const SparseColumns& local, std::int64_t first_row,
                    cluster::Communicator& group) {
  auto rows = local.rows;
  for (auto& row : rows) row += static_cast<std::int32_t>(first_row);
  if (group.size() == 1) return {std::move(rows), local.values};
  const auto entries = cluster::all_reduce_value(group, std::ssize(rows), cluster::Op::sum);
  WholeColumns out;
  if (group.rank() == 0) {
    out.first.reserve(entries);
    out.second.reserve(entries);
  }
  for_each_block(local.columns(), [&](std::int64_t begin, std::int64_t end) {
    gather_block(local, rows, begin, end, group, out);
  });
  return out;
}

SparseColumns scatter(std::span<const std::int32_t> rows, std::span<const float> values,
                      std::int64_t columns, cluster::Range own, cluster::Communicator& group) {
  const auto kept = cluster::broadcast_value(group, 0, std::ssize(rows) / columns);
  SparseColumns out;
  std::vector<std::int32_t> block_rows;
  std::vector<float> block_values;
  for_each_block(columns, [&](std::int64_t begin, std::int64_t end) {
    block_rows.resize((end - begin) * kept);
    block_values.resize((end - begin) * kept);
    if (group.rank() == 0) {
      std::copy_n(rows.begin() + begin * kept, block_rows.size(), block_rows.begin());
      std::copy_n(values.begin() + begin * kept, block_values.size(), block_values.begin());
    }
    cluster::broadcast_from(group, 0, std::span(block_rows));
    cluster::broadcast_from(group, 0, std::span(block_values));
    add_rows(block_rows, block_values, kept, own, out);
  });
  return out;
}

}  // namespace quench::dictionary
