#include "model/rope.hpp"

#include <cmath>
#include <numbers>

namespace quench::model {
namespace {

// Long waves are stretched by `factor`, short ones kept, those between blended.
double llama3_scaled(const Rope& rope, double frequency) {
  const auto context = static_cast<double>(rope.original_max_position);
  const double waves = context * frequency / (2 * std::numbers::pi);
  if (waves < rope.low_freq_factor) return frequency / rope.factor;
  if (waves > rope.high_freq_factor) return frequency;
  const double smooth =
      (waves - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
  return (1 - smooth) * frequency / rope.factor + smooth * frequency;
}

}  // namespace

at::Tensor rope_frequencies(const Rope& rope, std::int64_t head_dim) {
  at::Tensor frequencies = at::empty({head_dim / 2}, at::kFloat);
  auto* out = frequencies.mutable_data_ptr<float>();
  for (std::int64_t j = 0; j < head_dim / 2; ++j) {
    const double share = 2.0 * static_cast<double>(j) / static_cast<double>(head_dim);
    double frequency = std::pow(rope.theta, -share);
    if (rope.scaling == Rope::Scaling::linear) frequency /= rope.factor;
    if (rope.scaling == Rope::Scaling::llama3) frequency = llama3_scaled(rope, frequency);
    out[j] = static_cast<float>(frequency);
  }
  return frequencies;
}

Rotation rotation_of(const at::Tensor& positions, const at::Tensor& frequencies,
                     at::ScalarType dtype) {
  const at::Tensor angles = positions.to(at::kFloat).unsqueeze(-1).unsqueeze(-1) * frequencies;
  return {angles.cos().to(dtype), angles.sin().to(dtype)};
}

}  // namespace quench::model
