// On the CPU; tests/gpu has the same on a GPU.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "tests/support/device_factorise_checks.hpp"

namespace quench::testing {
namespace {

class BatchOnCpu : public ::testing::TestWithParam<DeviceCheck> {};

TEST_P(BatchOnCpu, Holds) {
  at::set_num_threads(1);
  GetParam().run(at::kCPU);
}

INSTANTIATE_TEST_SUITE_P(DeviceFactorise, BatchOnCpu,
                         ::testing::ValuesIn(device_factorise_checks()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace quench::testing
