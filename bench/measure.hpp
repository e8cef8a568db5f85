#pragma once

#include <c10/util/Exception.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "cluster/log.hpp"

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

// The exit code of a benchmark's run(); what it throws or logs is told on standard error, standard
// output is the figures' alone.
template <typename Run>
int guarded(const char* name, const Run& run) {
  cluster::start_log();
  try {
    return run();
  } catch (const c10::Error& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what_without_backtrace());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
  }
  return 70;
}

}  // namespace quench::bench
