#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace quench::bench {

// Rows that imitate token embeddings, for widths of models that are not at hand: a common
// direction, three of 400 topics a row with uniform weights below one half, and noise of variance
// 1; rounded to bfloat16 as checkpoints are. [rows, width] float32, the same for the same
// arguments.
at::Tensor mixture(std::int64_t rows, std::int64_t width, std::uint64_t seed);

}  // namespace quench::bench
