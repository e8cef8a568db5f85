#include <gtest/gtest.h>

#include "mpi_test_main.hpp"
#include "tests/support/store_checks.hpp"

namespace quench::testing {
namespace {

class MpiStore : public ::testing::TestWithParam<CollectiveCheck> {};
TEST_P(MpiStore, Holds) { GetParam().run(session().world()); }
INSTANTIATE_TEST_SUITE_P(Store, MpiStore, ::testing::ValuesIn(store_checks()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace quench::testing
