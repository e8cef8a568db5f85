#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "model/config.hpp"

namespace quench::model {

// Angles a position of each pair of dimensions, [head_dim / 2] float32 (RoFormer; llama3: the
// frequency scaling of Llama 3.1).
at::Tensor rope_frequencies(const Rope& rope, std::int64_t head_dim);

// Cosines and sines of a batch's positions, [batch, length, 1, head_dim / 2].
struct Rotation {
  at::Tensor cos, sin;
};
Rotation rotation_of(const at::Tensor& positions, const at::Tensor& frequencies,
                     at::ScalarType dtype);

}  // namespace quench::model
