#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "cluster/communicator.hpp"
#include "cluster/partition.hpp"
#include "stages/dictionary/sparse_columns.hpp"

namespace quench::dictionary {

// G of all ranks by column: [K, m] global rows, ascending a column, and values.
using WholeColumns = std::pair<std::vector<std::int32_t>, std::vector<float>>;

// Columns that ranks exchange at a time: beside its shard a rank holds so many of them whole, not
// all K.
constexpr std::int64_t columns_at_a_time = 64;

// Collective. G of all ranks, on rank 0; empty on the others.
WholeColumns gather(const SparseColumns& local, std::int64_t first_row,
                    cluster::Communicator& group);

// Collective. The other way: of a G of so many columns that rank 0 has (what others give is not
// looked at), each rank gets its rows `own`.
SparseColumns scatter(std::span<const std::int32_t> rows, std::span<const float> values,
                      std::int64_t columns, cluster::Range own, cluster::Communicator& group);

}  // namespace quench::dictionary
