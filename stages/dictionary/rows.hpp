#pragma once

#include <cstdint>
#include <span>
#include <vector>

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

  std::int64_t count() const { return static_cast<std::int64_t>(norms_.size()); }
  std::int64_t width() const { return width_; }
  double scale() const { return scale_; }
  bool halved() const { return !halves_.empty(); }
  std::int64_t bytes() const;
  // ||row i||, stored units.
  const std::vector<float>& norms() const { return norms_; }
  // Sum of the squares of all numbers, scaled.
  double square_norm() const { return square_norm_; }

  // Rows [first, first + count) as float32, stored units: [count, width].
  void copy(std::int64_t first, std::int64_t count, float* out) const;
  // <row, vector>, stored units.
  float dot(std::int64_t row, const float* vector) const;
  // sums[j - begin] += factor * row[j] for j in [begin, end), stored units.
  void add_scaled(std::int64_t row, double factor, std::int64_t begin, std::int64_t end,
                  double* sums) const;

 private:
  std::int64_t width_;
  double scale_;
  double square_norm_ = 0;
  std::vector<kernels::Half> halves_;
  std::vector<float> floats_;
  std::vector<float> norms_;
};

inline float Rows::dot(std::int64_t row, const float* vector) const {
  return halved() ? kernels::dot(halves_.data() + row * width_, vector, width_)
                  : kernels::dot(floats_.data() + row * width_, vector, width_);
}

inline void Rows::add_scaled(std::int64_t row, double factor, std::int64_t begin, std::int64_t end,
                             double* sums) const {
  if (halved())
    kernels::add_scaled(halves_.data() + row * width_ + begin, factor, end - begin, sums);
  else
    kernels::add_scaled(floats_.data() + row * width_ + begin, factor, end - begin, sums);
}

}  // namespace quench::dictionary
