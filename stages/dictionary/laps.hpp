#pragma once

#include <chrono>

namespace quench::dictionary {

// Adds the time since its making, or since the last lap, to one of several sums.
class Laps {
 public:
  void lap(double& sum) {
    const auto now = std::chrono::steady_clock::now();
    sum += std::chrono::duration<double>(now - last_).count();
    last_ = now;
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}  // namespace quench::dictionary
