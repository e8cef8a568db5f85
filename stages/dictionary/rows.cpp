#include "stages/dictionary/rows.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>

#include "cluster/error.hpp"

namespace quench::dictionary {

namespace {

[[noreturn]] void refuse_row(std::span<const float> row, std::int32_t token) {
  const auto bad =
      std::find_if_not(row.begin(), row.end(), [](float x) { return std::isfinite(x); });
  throw DataError("embedding row of token " + std::to_string(token) + ", column " +
                  std::to_string(bad - row.begin()) + ": " + std::to_string(*bad) +
                  " is not a finite number; the checkpoint is damaged, get it anew");
}

bool are_halves(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float value) {
    return (std::bit_cast<std::uint32_t>(value) & 0xffffU) == 0;
  });
}

std::function<std::span<const float>(std::size_t)> rows_within(std::span<const float> stored,
                                                               std::size_t count,
                                                               std::int64_t width) {
  if (stored.size() != count * static_cast<std::size_t>(width))
    throw InternalError("Rows: not `width` numbers a token");
  return [stored, width](std::size_t r) { return stored.subspan(r * width, width); };
}

}  // namespace

Rows::Rows(const std::function<std::span<const float>(std::size_t)>& row,
           std::span<const std::int32_t> tokens, std::int64_t width, double scale)
    : width_(width), scale_(scale) {
  norms_.reserve(tokens.size());
  bool halved = true;
  for (std::size_t r = 0; r < tokens.size(); ++r) {
    const auto numbers = row(r);
    double sum = 0;
    for (const double value : numbers) sum += value * value;
    if (!std::isfinite(sum)) refuse_row(numbers, tokens[r]);
    square_norm_ += sum * scale * scale;
    norms_.push_back(static_cast<float>(std::sqrt(sum)));
    halved = halved && are_halves(numbers);
  }
  const auto total = tokens.size() * static_cast<std::size_t>(width);
  halved ? halves_.resize(total) : floats_.resize(total);
  for (std::size_t r = 0; r < tokens.size(); ++r) {
    const auto numbers = row(r);
    const auto at = static_cast<std::ptrdiff_t>(r) * width;
    if (halved)
      std::ranges::transform(numbers, halves_.begin() + at, [](float value) {
        return static_cast<kernels::Half>(std::bit_cast<std::uint32_t>(value) >> 16U);
      });
    else
      std::ranges::copy(numbers, floats_.begin() + at);
  }
}

Rows::Rows(std::span<const float> stored, std::span<const std::int32_t> tokens, std::int64_t width,
           double scale)
    : Rows(rows_within(stored, tokens.size(), width), tokens, width, scale) {}

std::int64_t Rows::bytes() const {
  return static_cast<std::int64_t>(halves_.size() * sizeof(kernels::Half) +
                                   (floats_.size() + norms_.size()) * sizeof(float));
}

void Rows::copy(std::int64_t first, std::int64_t count, float* out) const {
  if (halved())
    kernels::widen(halves_.data() + first * width_, count * width_, out);
  else
    std::copy_n(floats_.data() + first * width_, count * width_, out);
}

}  // namespace quench::dictionary
