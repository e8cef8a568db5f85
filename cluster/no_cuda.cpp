// What device.hpp declares, for a build without CUDA.
#include "cluster/device.hpp"
#include "cluster/error.hpp"

namespace quench::cluster {
namespace {

constexpr const char* problem = "this build has no CUDA part: build one with ./setup.sh --cuda";

}  // namespace

VisibleDevices visible_devices() { return {{}, problem}; }

void make_current(const Device& device) {
  if (device.is_cuda()) throw ConfigError(problem);
}

bool built_with_cuda() { return false; }

std::vector<std::string> device_library_versions() { return {}; }

}  // namespace quench::cluster
