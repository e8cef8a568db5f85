#include "model/row_loops.hpp"

#include <cmath>

#include "cluster/clones.hpp"

namespace quench::model {

QUENCH_CLONES void normalise_rows(const float* x, const float* weight, float offset, float eps,
                                  std::int64_t rows, std::int64_t width, float* out) {
  constexpr std::int64_t lanes = 16;
  for (; rows > 0; --rows, x += width, out += width) {
    float sums[lanes] = {};
    std::int64_t i = 0;
    for (; i + lanes <= width; i += lanes)
      for (std::int64_t l = 0; l < lanes; ++l) sums[l] += x[i + l] * x[i + l];
    float sum = 0;
    for (; i < width; ++i) sum += x[i] * x[i];
    for (const float part : sums) sum += part;
    const float scale = 1 / std::sqrt(sum / static_cast<float>(width) + eps);
    for (i = 0; i < width; ++i) out[i] = x[i] * scale * (weight[i] + offset);
  }
}

QUENCH_CLONES void rotate_rows(const float* x, const float* cos, const float* sin,
                               std::int64_t tokens, std::int64_t heads, std::int64_t half,
                               float* out) {
  for (; tokens > 0; --tokens, cos += half, sin += half)
    for (std::int64_t head = 0; head < heads; ++head, x += 2 * half, out += 2 * half)
      for (std::int64_t j = 0; j < half; ++j) {
        const float a = x[j], b = x[j + half];
        out[j] = a * cos[j] - b * sin[j];
        out[j + half] = b * cos[j] + a * sin[j];
      }
}

}  // namespace quench::model
