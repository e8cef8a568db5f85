#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <vector>

namespace quench::dictionary {

// The least of the `kept` largest magnitudes of `count` >= kept values.
inline float threshold_of(const float* values, std::int64_t count, std::int64_t kept) {
  std::vector<float> sizes(count);
  std::transform(values, values + count, sizes.begin(),
                 [](float value) { return std::abs(value); });
  std::nth_element(sizes.begin(), sizes.begin() + (kept - 1), sizes.end(), std::greater<>());
  return sizes[kept - 1];
}

// A guess of the next threshold after two, that is seldom too high: thresholds move ever less, so
// the last one lowered by three times its last move.
inline float next_threshold(float last, float before) {
  const float move = last > 0 ? std::abs(last - before) / last : 1;
  return last * (1 - std::clamp(3 * move, 0.01F, 0.5F));
}

}  // namespace quench::dictionary
