#include "cluster/communicator.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "cluster/buffers.hpp"
#include "cluster/error.hpp"

namespace quench::cluster {
namespace {

// Calls f with a value of the C++ type behind `dtype`.
template <typename F>
auto with_type_of(DType dtype, F f) {
  switch (dtype) {
    case DType::u8:
      return f(std::uint8_t{});
    case DType::i32:
      return f(std::int32_t{});
    case DType::i64:
      return f(std::int64_t{});
    case DType::u64:
      return f(std::uint64_t{});
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
  }
  throw InternalError("unknown data type " + std::to_string(static_cast<int>(dtype)));
}

template <typename T>
void reduce_typed(T* to, const T* from, std::int64_t count, Op op) {
  const auto combine = [&](auto f) { std::transform(to, to + count, from, to, f); };
  switch (op) {
    case Op::sum:
      return combine([](T a, T b) { return static_cast<T>(a + b); });
    case Op::max:
      return combine([](T a, T b) { return std::max(a, b); });
    case Op::min:
      return combine([](T a, T b) { return std::min(a, b); });
  }
  throw InternalError("unknown reduction " + std::to_string(static_cast<int>(op)));
}

class LocalMemory final : public SharedMemory {
 public:
  LocalMemory(std::shared_ptr<std::byte> memory, std::int64_t bytes)
      : memory_(std::move(memory)), bytes_(bytes) {}
  std::byte* data() override { return memory_.get(); }
  std::int64_t bytes() const override { return bytes_; }

 private:
  std::shared_ptr<std::byte> memory_;
  std::int64_t bytes_;
};

}  // namespace

std::int64_t size_of(DType dtype) {
  return with_type_of(dtype, [](auto value) { return std::int64_t{sizeof(value)}; });
}

std::vector<std::int64_t> offsets_of(std::span<const std::int64_t> counts) {
  std::vector<std::int64_t> offsets(counts.size() + 1, 0);
  std::partial_sum(counts.begin(), counts.end(), offsets.begin() + 1);
  return offsets;
}

void check_pieces(const Communicator& comm, ConstBuffer piece, ConstBuffer whole,
                  std::span<const std::int64_t> counts) {
  if (static_cast<int>(counts.size()) != comm.size())
    throw InternalError(std::to_string(counts.size()) + " counts for " +
                        std::to_string(comm.size()) + " ranks");
  const auto total = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  if (whole.count != total || piece.count != counts[comm.rank()])
    throw InternalError("buffers of " + std::to_string(piece.count) + " and " +
                        std::to_string(whole.count) + " elements where the counts say " +
                        std::to_string(counts[comm.rank()]) + " and " + std::to_string(total));
  if (piece.dtype != whole.dtype)
    throw InternalError("the piece and the whole differ in data type");
}

void check_root(const Communicator& comm, int root) {
  if (root < 0 || root >= comm.size())
    throw InternalError("root " + std::to_string(root) + " of " + std::to_string(comm.size()) +
                        " ranks");
}

Buffer slice(Buffer buffer, std::int64_t offset, std::int64_t count) {
  if (count == 0) return {nullptr, 0, buffer.dtype};
  return {static_cast<std::byte*>(buffer.data) + offset * size_of(buffer.dtype), count,
          buffer.dtype};
}

ConstBuffer slice(ConstBuffer buffer, std::int64_t offset, std::int64_t count) {
  return as_const(
      slice(Buffer{const_cast<void*>(buffer.data), buffer.count, buffer.dtype}, offset, count));
}

ConstBuffer as_const(Buffer buffer) { return {buffer.data, buffer.count, buffer.dtype}; }

void copy_elements(Buffer to, ConstBuffer from) {
  const auto bytes = static_cast<std::size_t>(from.count * size_of(from.dtype));
  if (bytes > 0) std::memcpy(to.data, from.data, bytes);
}

void reduce_elements(Buffer to, ConstBuffer from, Op op) {
  with_type_of(to.dtype, [&](auto value) {
    using T = decltype(value);
    reduce_typed(static_cast<T*>(to.data), static_cast<const T*>(from.data), from.count, op);
  });
}

std::shared_ptr<std::byte> allocate_lines(std::int64_t bytes) {
  constexpr std::size_t line = 64;
  const auto rounded = (static_cast<std::size_t>(bytes) / line + 1) * line;
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(line, rounded));
  if (memory == nullptr)
    throw ConfigError("no room for " + std::to_string(bytes) + " bytes of memory on this node");
  std::memset(memory, 0, rounded);
  return {memory, [](std::byte* p) { std::free(p); }};
}

std::unique_ptr<SharedMemory> make_local_memory(std::shared_ptr<std::byte> memory,
                                                std::int64_t bytes) {
  return std::make_unique<LocalMemory>(std::move(memory), bytes);
}

}  // namespace quench::cluster
