#pragma once

#include <cstdint>

namespace quench::cluster {

// A half-open range of global indices.
struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t size() const { return end - begin; }
  friend bool operator==(const Range&, const Range&) = default;
};

// The rows of `rank` when `rows` are split into `size` contiguous blocks that differ by at most one
// row (the first rows % size blocks are the longer ones). Pure; rows < size gives empty blocks.
constexpr Range rows_of(std::int64_t rows, int size, int rank) {
  const std::int64_t base = rows / size;
  const std::int64_t longer = rows % size;
  const std::int64_t begin = base * rank + (rank < longer ? rank : longer);
  return {begin, begin + base + (rank < longer ? 1 : 0)};
}

// Whose the i-th of many things is, costliest first, when they are dealt to `size` ranks to and fro
// (0, 1, 2, 2, 1, 0, 0, 1, ...): what ranks get costs about the same.
constexpr int dealt_to(std::int64_t i, int size) {
  const auto turn = static_cast<int>(i % (2 * std::int64_t{size}));
  return turn < size ? turn : 2 * size - 1 - turn;
}

}  // namespace quench::cluster
