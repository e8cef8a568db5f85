#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

namespace quench::bench {

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <typename Run>
double seconds_of(const Run& run) {
  const double start = now();
  run();
  return now() - start;
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

}  // namespace quench::bench
