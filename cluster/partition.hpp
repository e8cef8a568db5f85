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

}  // namespace quench::cluster
