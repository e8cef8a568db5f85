#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "cluster/communicator.hpp"
#include "stages/dictionary/sparse_columns.hpp"

namespace quench::dictionary {

// Collective. G of all ranks by column: [K, m] global rows, ascending a column, and values.
std::pair<std::vector<std::int32_t>, std::vector<float>> gather(const SparseColumns& local,
                                                                std::int64_t first_row,
                                                                cluster::Communicator& group);

// The other way: this rank's rows [first, first + count) of such a G. Local.
SparseColumns shard_of(std::span<const std::int32_t> rows, std::span<const float> values,
                       std::int64_t columns, std::int64_t first, std::int64_t count);

}  // namespace quench::dictionary
