#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "cluster/communicator.hpp"

// Winner-take-all by column on a device, its rows sharded over the ranks of a group.
namespace quench::dictionary {

// G^T of one rank's rows, on their device: of each column as many places as may win here.
struct DeviceEntries {
  at::Tensor rows;    // [K, c] int64, local
  at::Tensor values;  // [K, c] float32; 0 where the place is not won
  at::Tensor won;     // [K, c] bool
  at::Tensor least;   // [K] float32: least |value| of a column over all ranks
};

// Collective over `comm`, whose buffers lie on the device. Of every column the `kept` entries of
// largest |<row, vector>| over all ranks, exactly, ties to the lower global row. rows: [count, d]
// float32 of this rank, the first of which is global row `first` (below 2^32); vectors: [K, d].
// Enqueues and returns. Besides what it returns, holds a block of columns of the count x K numbers,
// never all of them; bytes sent do not depend on the number of rows.
DeviceEntries keep_largest(const at::Tensor& rows, const at::Tensor& vectors, std::int64_t first,
                           std::int64_t kept, cluster::Communicator& comm);

}  // namespace quench::dictionary
