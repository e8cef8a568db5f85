#include "stages/dictionary/device_place.hpp"

#include <string>

#include "cluster/collectives.hpp"
#include "cluster/log.hpp"

namespace quench::dictionary {

at::Device device_of(const cluster::Session& session) {
  const auto& device = session.device();
  return device.is_cuda() ? at::Device(at::kCUDA, static_cast<at::DeviceIndex>(device.index))
                          : at::Device(at::kCPU);
}

GroupDevice::GroupDevice(const cluster::Session& session, cluster::Communicator& group,
                         double bytes) {
  if (!session.device().is_cuda()) return;
  const auto memory = cluster::all_reduce_value(group, session.device().memory, cluster::Op::min);
  if (bytes > 0.9 * static_cast<double>(memory)) {
    constexpr double gib = 1 << 30;
    if (group.rank() == 0)
      cluster::log_info("dictionary: on the CPU: a factorisation takes " +
                        std::to_string(std::llround(bytes / gib)) + " GiB of a device that has " +
                        std::to_string(std::llround(static_cast<double>(memory) / gib)) +
                        "; more ranks need less each");
    return;
  }
  if (group.size() == 1) {
    place_.emplace(DevicePlace{device_of(session), group, {}});
    return;
  }
  // libtorch's current stream of a thread that chose none is the default one, and so is NCCL's.
  nccl_ = cluster::make_nccl_communicator(group, session.device(), nullptr, session.watchdog());
  place_.emplace(
      DevicePlace{device_of(session), *nccl_, [this] { nccl_->wait(); }, session.watchdog()});
}

}  // namespace quench::dictionary
