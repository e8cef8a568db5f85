#pragma once

#include <cstring>
#include <exception>
#include <string>
#include <type_traits>
#include <vector>

#include "cluster/communicator.hpp"

// Typed forms of the collectives. Every function here is collective.
namespace quench::cluster {

template <typename T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>)
    return DType::f32;
  else if constexpr (std::is_same_v<T, double>)
    return DType::f64;
  else if constexpr (std::is_same_v<T, std::int32_t>)
    return DType::i32;
  else if constexpr (std::is_same_v<T, std::int64_t>)
    return DType::i64;
  else if constexpr (std::is_same_v<T, std::uint64_t>)
    return DType::u64;
  else {
    static_assert(sizeof(T) == 1, "no data type for this element");
    return DType::u8;
  }
}

template <typename T>
Buffer buffer_of(std::span<T> values) {
  return {values.data(), static_cast<std::int64_t>(values.size()), dtype_of<std::remove_cv_t<T>>()};
}

template <typename T>
void broadcast_from(Communicator& comm, int root, std::span<T> values) {
  comm.broadcast(buffer_of(values), root);
}

// One value from root to everybody.
template <typename T>
requires std::is_arithmetic_v<T> T broadcast_value(Communicator& comm, int root, T value) {
  comm.broadcast({&value, 1, dtype_of<T>()}, root);
  return value;
}

std::string broadcast_string(Communicator& comm, int root, std::string text);

template <typename T>
void all_reduce_sum(Communicator& comm, std::span<T> values) {
  comm.all_reduce(buffer_of(values), Op::sum);
}

template <typename T>
requires std::is_arithmetic_v<T> T all_reduce_value(Communicator& comm, T value, Op op) {
  comm.all_reduce({&value, 1, dtype_of<T>()}, op);
  return value;
}

// The ranks' pieces with their boundaries kept: piece r is values[offsets[r], offsets[r + 1]).
template <typename T>
struct Gathered {
  std::vector<T> values;
  std::vector<std::int64_t> offsets;
  std::span<const T> of(int rank) const {
    return std::span<const T>(values).subspan(offsets[rank], offsets[rank + 1] - offsets[rank]);
  }
};

template <typename T>
Gathered<T> all_gather(Communicator& comm, std::span<const T> local) {
  std::vector<std::int64_t> counts(comm.size());
  const std::vector<std::int64_t> ones(comm.size(), 1);
  const auto count = static_cast<std::int64_t>(local.size());
  comm.all_gather_v({&count, 1, DType::i64}, {counts.data(), comm.size(), DType::i64}, ones);
  Gathered<T> out;
  out.offsets.assign(1, 0);
  for (const auto n : counts) out.offsets.push_back(out.offsets.back() + n);
  out.values.resize(out.offsets.back());
  comm.all_gather_v({local.data(), count, dtype_of<T>()}, buffer_of(std::span<T>(out.values)),
                    counts);
  return out;
}

// Runs `local` on every rank (it must not communicate); if it throws anywhere, all ranks throw an
// Error with the code and message of the lowest failing rank, before anyone enters a collective.
void agree(Communicator& comm, const std::function<void()>& local);

// True on all ranks if it is on any.
bool any_of(Communicator& comm, bool local);

}  // namespace quench::cluster
