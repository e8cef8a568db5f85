#pragma once

#include <cstdint>
#include <span>
#include <string>

// The innermost block of products of bfloat16 pairs, as this processor does it best.
namespace quench::dictionary {

struct HalfEngine {
  static constexpr std::int64_t block_rows = 32;
  static constexpr std::int64_t most = 32;  // of most_vectors

  std::string name;
  std::int64_t most_vectors = 1;  // at a time
  std::int64_t granule = 1;       // vectors are read in groups of so many, the last one padded
  std::int64_t pair_step = 1;     // pairs come in multiples of it
  double speed = 1;               // beside float32 products, about
  // Around what a thread does.
  void (*enter)() = nullptr;
  void (*leave)() = nullptr;
  // out[k * block_rows + i] = sum over p of pair (i, p) times pair (k, p), for k < count. rows:
  // [pairs, block_rows]; vectors: [count, pairs] with a stride.
  void (*multiply)(const std::uint32_t* rows, const std::uint32_t* vectors, std::int64_t stride,
                   std::int64_t count, std::int64_t pairs, float* out) = nullptr;
};

// Those that this processor and its system have, the best one first.
std::span<const HalfEngine> half_engines();

}  // namespace quench::dictionary
