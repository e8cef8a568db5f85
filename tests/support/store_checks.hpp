#pragma once

#include "tests/support/collective_check.hpp"

namespace quench::testing {

// What the store promises over any communicator.
const std::vector<CollectiveCheck>& store_checks();

}  // namespace quench::testing
