#pragma once

#include <ATen/ATen.h>

#include <ostream>
#include <string>
#include <vector>

// What factorise_batch() promises on any device.
namespace quench::testing {

struct DeviceCheck {
  std::string name;
  void (*run)(at::Device device);
};

inline void PrintTo(const DeviceCheck& check, std::ostream* out) { *out << check.name; }

const std::vector<DeviceCheck>& device_factorise_checks();

}  // namespace quench::testing
