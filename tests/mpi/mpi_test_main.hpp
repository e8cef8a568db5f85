#pragma once

#include "cluster/session.hpp"

namespace quench::testing {

// The session of a test program whose main() is quench_mpi_test_main's. A test that fails on any
// rank fails on all of them; so communicate first and assert afterwards.
cluster::Session& session();

}  // namespace quench::testing
