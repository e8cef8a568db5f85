#pragma once

// Inside cluster/ only: what the implementations of Communicator share.
#include "cluster/communicator.hpp"

namespace quench::cluster {

// Where the pieces of a gather or scatter begin, in elements: counts.size() + 1 offsets, the last
// one is the total.
std::vector<std::int64_t> offsets_of(std::span<const std::int64_t> counts);

// Throws InternalError when `counts` does not hold one count a rank, or when the whole or this
// rank's piece differs from it in size or data type.
void check_pieces(const Communicator& comm, ConstBuffer piece, ConstBuffer whole,
                  std::span<const std::int64_t> counts);

// Throws InternalError when `root` is not a rank.
void check_root(const Communicator& comm, int root);

// Elements [offset, offset + count) of a buffer.
Buffer slice(Buffer buffer, std::int64_t offset, std::int64_t count);
ConstBuffer slice(ConstBuffer buffer, std::int64_t offset, std::int64_t count);
ConstBuffer as_const(Buffer buffer);

// to = from; same count and data type.
void copy_elements(Buffer to, ConstBuffer from);
// to = to op from, element-wise; same count and data type.
void reduce_elements(Buffer to, ConstBuffer from, Op op);

// Zero-filled and aligned to a cache line, in this process. Throws ClusterError when there is no
// room.
std::shared_ptr<std::byte> allocate_lines(std::int64_t bytes);
// A view of memory that the ranks (threads) of this process own together.
std::unique_ptr<SharedMemory> make_local_memory(std::shared_ptr<std::byte> memory,
                                                std::int64_t bytes);

}  // namespace quench::cluster
