#include <gtest/gtest.h>

#include "cluster/device.hpp"
#include "tests/support/device_factorise_checks.hpp"

namespace quench::testing {
namespace {

class BatchOnGpu : public ::testing::TestWithParam<DeviceCheck> {};

TEST_P(BatchOnGpu, Holds) {
  const auto visible = cluster::visible_devices();
  if (visible.devices.empty()) GTEST_SKIP() << visible.problem;
  GetParam().run(at::Device(at::kCUDA, 0));
}

INSTANTIATE_TEST_SUITE_P(DeviceFactorise, BatchOnGpu,
                         ::testing::ValuesIn(device_factorise_checks()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace quench::testing
