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

}  // namespace

Rows::Rows(std::span<const float> stored, std::span<const std::int32_t> tokens, std::int64_t width,
           double scale)
    : width_(width), scale_(scale) {
  if (stored.size() != tokens.size() * static_cast<std::size_t>(width))
    throw InternalError("Rows: not `width` numbers a token");
  norms_.reserve(tokens.size());
  for (std::size_t r = 0; r < tokens.size(); ++r) {
    const auto row = stored.subspan(r * width, width);
    double sum = 0;
    for (const double value : row) sum += value * value;
    if (!std::isfinite(sum)) refuse_row(row, tokens[r]);
    square_norm_ += sum * scale * scale;
    norms_.push_back(static_cast<float>(std::sqrt(sum)));
  }
  if (!are_halves(stored)) {
    floats_.assign(stored.begin(), stored.end());
    return;
  }
  halves_.resize(stored.size());
  std::transform(stored.begin(), stored.end(), halves_.begin(), [](float value) {
    return static_cast<kernels::Half>(std::bit_cast<std::uint32_t>(value) >> 16U);
  });
}

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
