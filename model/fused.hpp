#pragma once

#include <ATen/ATen.h>

#include "model/config.hpp"
#include "model/rope.hpp"

namespace quench::model {

// The steps of a layer between its products. Each reads and writes memory once where nothing is
// differentiated, in float32 on the CPU; elsewhere they are made of ATen's operations.

// x / sqrt(mean(x^2) + eps) * weight over the last dimension (Zhang and Sennrich, 2019); Gemma's
// `unit_offset`: * (1 + weight).
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, bool unit_offset);

// Rotates the pairs (j, j + head_dim / 2) of x: [batch, length, heads, head_dim].
at::Tensor rotate(const at::Tensor& x, const Rotation& rotation);

// activation(gate) * up, same shapes. `gate` is the caller's no longer.
at::Tensor gated(Activation activation, at::Tensor gate, const at::Tensor& up);

// x + change, same shapes. `change` is the caller's no longer.
at::Tensor added(const at::Tensor& x, const at::Tensor& change);

}  // namespace quench::model
