#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace quench {

// Entries of a feature that winner-take-all keeps: max(1, ceil(density count)), at most `count`.
inline std::int64_t kept_per_feature(std::int64_t count, double density) {
  const auto share = static_cast<std::int64_t>(std::ceil(density * static_cast<double>(count)));
  return std::min(count, std::max<std::int64_t>(1, share));
}

}  // namespace quench
