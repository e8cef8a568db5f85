#include "stages/dictionary/gather.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cluster/collectives.hpp"

namespace quench::dictionary {

std::pair<std::vector<std::int32_t>, std::vector<float>> gather(const SparseColumns& local,
                                                                std::int64_t first_row,
                                                                cluster::Communicator& group) {
  auto mine = local.rows;
  for (auto& row : mine) row += static_cast<std::int32_t>(first_row);
  if (group.size() == 1) return {std::move(mine), local.values};
  const auto offsets = cluster::all_gather(group, std::span<const std::int64_t>(local.offsets));
  const auto rows = cluster::all_gather(group, std::span<const std::int32_t>(mine));
  const auto values = cluster::all_gather(group, std::span<const float>(local.values));
  std::pair<std::vector<std::int32_t>, std::vector<float>> out;
  out.first.reserve(rows.values.size());
  out.second.reserve(rows.values.size());
  for (std::int64_t k = 0; k < local.columns(); ++k) {
    for (int rank = 0; rank < group.size(); ++rank) {
      const auto begin = offsets.of(rank)[k];
      const auto count = offsets.of(rank)[k + 1] - begin;
      const auto piece = rows.of(rank).subspan(begin, count);
      const auto numbers = values.of(rank).subspan(begin, count);
      out.first.insert(out.first.end(), piece.begin(), piece.end());
      out.second.insert(out.second.end(), numbers.begin(), numbers.end());
    }
  }
  return out;
}

SparseColumns shard_of(std::span<const std::int32_t> rows, std::span<const float> values,
                       std::int64_t columns, std::int64_t first, std::int64_t count) {
  SparseColumns out;
  const auto kept = std::ssize(rows) / columns;
  for (std::int64_t k = 0; k < columns; ++k) {
    float least = std::numeric_limits<float>::infinity();
    for (auto i = k * kept; i < (k + 1) * kept; ++i) {
      least = std::min(least, std::abs(values[i]));
      if (rows[i] < first || rows[i] >= first + count) continue;
      out.rows.push_back(static_cast<std::int32_t>(rows[i] - first));
      out.values.push_back(values[i]);
    }
    out.offsets.push_back(std::ssize(out.rows));
    out.least_kept.push_back(least);
  }
  return out;
}

}  // namespace quench::dictionary
