#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "stages/dictionary/huge_pages.hpp"
#include "stages/dictionary/kernels.hpp"

namespace quench::dictionary {

// The rows of A^T that one rank holds, scaled on use: row i of A^T is scale * stored row i. Kept as
// bfloat16 where every number is one (as checkpoints store them), which halves the memory that an
// iteration streams and loses nothing. Local.
class Rows {
 public:
  // stored: [tokens, width]. Throws DataError for a number that is not finite (names the token).
  Rows(std::span<const float> stored, std::span<const std::int32_t> tokens, std::int64_t width,
       double scale);
  // The same of rows that lie anywhere: row(i) is that of tokens[i], [width]; called twice for
  // each.
  Rows(const std::function<std::span<const float>(std::size_t)>& row,
       std::span<const std::int32_t> tokens, std::int64_t width, double scale);

  std::int64_t count() const { return static_cast<std::int64_t>(norms_.size()); }
  std::int64_t width() const { return width_; }
  double scale() const { return scale_; }
  bool halved() const { return !halves_.empty(); }
  // The stored numbers, when halved(): [count, width].
  const kernels::Half* halves() const { return halves_.data(); }
  std::int64_t bytes() const;
  std::int64_t row_bytes() const { return width_ * (halved() ? 2 : 4); }
  // ||row i||, stored units.
  const std::vector<float>& norms() const { return norms_; }
  // Sum of the squares of all numbers, scaled.
  double square_norm() const { return square_norm_; }

  // Rows [first, first + count) as float32, stored units: [count, width].
  void copy(std::int64_t first, std::int64_t count, float* out) const;
  // <row, vector>, stored units.
  float dot(std::int64_t row, const float* vector) const;
  // sums [width] += sum over e of factors[e] * row places[e], stored units.
  void add_weighted(std::span<const std::int32_t> places, const float* factors, double* sums) const;

 private:
  std::int64_t width_;
  double scale_;
  double square_norm_ = 0;
  HugeVector<kernels::Half> halves_;
  HugeVector<float> floats_;
  std::vector<float> norms_;
};

inline float Rows::dot(std::int64_t row, const float* vector) const {
  return halved() ? kernels::dot(halves_.data() + row * width_, vector, width_)
                  : kernels::dot(floats_.data() + row * width_, vector, width_);
}

inline void Rows::add_weighted(std::span<const std::int32_t> places, const float* factors,
                               double* sums) const {
  const auto entries = std::ssize(places);
  if (halved())
    kernels::add_weighted(halves_.data(), places.data(), factors, entries, width_, sums);
  else
    kernels::add_weighted(floats_.data(), places.data(), factors, entries, width_, sums);
}

}  // namespace quench::dictionary
