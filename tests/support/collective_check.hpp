#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cluster/communicator.hpp"

namespace quench::testing {

// A test that is collective: each rank calls it with its own communicator. It communicates first
// and judges afterwards.
struct CollectiveCheck {
  std::string name;
  void (*run)(cluster::Communicator& comm);
};

inline void PrintTo(const CollectiveCheck& check, std::ostream* out) { *out << check.name; }

// Runs every check alone and on 1, 2 and 3 threads: instantiate with local_cases(checks).
class LocalCheck : public ::testing::TestWithParam<std::tuple<CollectiveCheck, int>> {
 public:
  static std::string name(const ::testing::TestParamInfo<ParamType>& tested) {
    const int threads = std::get<1>(tested.param);
    return std::get<0>(tested.param).name +
           (threads > 0 ? "On" + std::to_string(threads) + "Threads" : "Alone");
  }
  void run() const {
    const auto& [check, threads] = GetParam();
    if (threads == 0)
      check.run(*cluster::make_self_communicator());
    else
      cluster::run_on_threads(threads, check.run);
  }
};

inline auto local_cases(const std::vector<CollectiveCheck>& checks, int most_threads = 3) {
  return ::testing::Combine(::testing::ValuesIn(checks), ::testing::Range(0, most_threads + 1));
}

}  // namespace quench::testing
