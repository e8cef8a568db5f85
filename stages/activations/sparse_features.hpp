#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "stages/types.hpp"

// The sparse factor of the semi-NMF. Local.
namespace quench::activations {

// Of each row of F^T ([K, width] float64) the entries whose magnitude is at least the `kept`-th
// largest (methods 3.2 step 2; ties may keep more), times scales[k] ([K]), rounded to float32.
// Zeros are not stored.
NeuronFeatures keep_largest(const at::Tensor& features, std::int64_t kept,
                            const at::Tensor& scales);

// F^T F, [K, K] float64.
at::Tensor gram_of(const NeuronFeatures& features);

// F^T A for A [width, positions] float32: [K, positions] float32.
at::Tensor product(const NeuronFeatures& features, const at::Tensor& activations);

}  // namespace quench::activations
