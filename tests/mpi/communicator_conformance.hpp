#pragma once

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "cluster/communicator.hpp"

namespace quench::testing {

// What every implementation of Communicator must do, written once. A check is collective: each rank
// calls it with its own communicator. Checks communicate first and judge afterwards.
struct ConformanceCheck {
  std::string name;
  void (*run)(cluster::Communicator& comm);
};

std::vector<ConformanceCheck> collective_checks();
std::vector<ConformanceCheck> ticket_checks();
std::vector<ConformanceCheck> conformance_checks();  // all of them

// first, first + 1, ...
template <typename T>
std::vector<T> numbers(std::int64_t count, T first) {
  std::vector<T> values(count);
  std::iota(values.begin(), values.end(), first);
  return values;
}

}  // namespace quench::testing
