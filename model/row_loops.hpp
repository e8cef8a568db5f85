#pragma once

#include <cstdint>

// Loops over rows of float32, one pass over memory each, compiled for several instruction sets.
// Local; nothing is checked.
namespace quench::model {

// out = x / sqrt(mean(x^2) + eps) * (weight + offset), rows of `width`.
void normalise_rows(const float* x, const float* weight, float offset, float eps, std::int64_t rows,
                    std::int64_t width, float* out);

// Tokens' heads, [tokens, heads, 2 half], turned by tokens' angles, [tokens, half]: the pairs
// (j, j + half).
void rotate_rows(const float* x, const float* cos, const float* sin, std::int64_t tokens,
                 std::int64_t heads, std::int64_t half, float* out);

}  // namespace quench::model
