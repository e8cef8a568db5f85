#pragma once

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

const std::vector<ConformanceCheck>& conformance_checks();

}  // namespace quench::testing
