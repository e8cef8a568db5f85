// What device.hpp and nccl_communicator.hpp declare, for a build without CUDA.
#include "cluster/device.hpp"
#include "cluster/error.hpp"
#include "cluster/nccl_communicator.hpp"

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

std::unique_ptr<DeviceCommunicator> make_nccl_communicator(Communicator&, const Device&,
                                                           DeviceStream, Watchdog*) {
  throw ConfigError(problem);
}

}  // namespace quench::cluster
