#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "stages/dictionary/huge_pages.hpp"
#include "stages/dictionary/kernels.hpp"
#include "stages/dictionary/rows.hpp"

namespace quench::dictionary {

// A matrix of n x n whose columns lie in panels, [n / 16, n, 16]: products with sparse columns read
// each number once from memory, whatever the order of the rows that they ask for.
class PanelMatrix {
 public:
  static constexpr std::int64_t width = kernels::panel_columns;

  PanelMatrix() = default;
  explicit PanelMatrix(std::int64_t count);

  std::int64_t panels() const { return (count_ + width - 1) / width; }
  const float* panel(std::int64_t i) const { return numbers_.data() + i * count_ * width; }
  float& at(std::int64_t row, std::int64_t column) { return numbers_[place(row, column)]; }
  float at(std::int64_t row, std::int64_t column) const { return numbers_[place(row, column)]; }
  // Of a row, the columns [begin, end).
  void set(std::int64_t row, std::int64_t begin, std::int64_t end, const float* values);

 private:
  std::int64_t place(std::int64_t row, std::int64_t column) const {
    return (column / width * count_ + row) * width + column % width;
  }

  std::int64_t count_ = 0;
  HugeVector<float> numbers_;
};

// C = A^T A, stored units, about a common row u: what tokens have in common is most of their
// length, and would leave the rest to float32 rounding.
//   C_ij = products_ij + along_i + along_j + square
struct TokenGram {
  PanelMatrix products;        // [n, n]: <a_i - u, a_j - u>
  std::vector<double> center;  // u, [d]
  std::vector<double> along;   // [n]: <a_i - u, u>
  double square = 0;           // <u, u>
};

// Of all pairs of `rows`, about their mean; each pair is computed once: n^2 d flops, float64 sums
// of short float32 ones where the rows are bfloat16 and the processor multiplies these, else
// float32 ones of centered rows. Local, uses ATen's intra-op threads.
TokenGram token_gram(const Rows& rows);

// The block of C that many factorisations have in common (the neutral text's tokens), computed when
// it is first asked for. Local; safe for concurrent use.
class SharedTokenGram {
 public:
  // tokens: ascending. rows: makes their rows.
  SharedTokenGram(std::vector<std::int32_t> tokens, std::function<Rows()> rows);

  // As token_gram(rows) of `tokens` (ascending; the shared ones' block is copied), about the shared
  // tokens' mean; about their own, and all anew, where that mean lies far off.
  TokenGram of(const Rows& rows, std::span<const std::int32_t> tokens) const;

 private:
  const TokenGram& block() const;

  std::vector<std::int32_t> tokens_;
  std::function<Rows()> rows_;
  mutable std::mutex mutex_;
  mutable std::optional<TokenGram> block_;
};

}  // namespace quench::dictionary
