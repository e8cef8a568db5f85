#pragma once

#include "tests/support/collective_check.hpp"

namespace quench::testing {

// What run_tasks() promises over any communicator.
const std::vector<CollectiveCheck>& task_runner_checks();

}  // namespace quench::testing
