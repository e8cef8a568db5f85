#include <gtest/gtest.h>

#include "mpi_test_main.hpp"
#include "tests/support/task_runner_checks.hpp"

namespace quench::testing {
namespace {

class MpiTaskRunner : public ::testing::TestWithParam<CollectiveCheck> {};
TEST_P(MpiTaskRunner, Holds) { GetParam().run(session().world()); }
INSTANTIATE_TEST_SUITE_P(TaskRunner, MpiTaskRunner, ::testing::ValuesIn(task_runner_checks()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace quench::testing
