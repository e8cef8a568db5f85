#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <optional>

#include "cluster/nccl_communicator.hpp"
#include "cluster/session.hpp"
#include "stages/dictionary/factorise.hpp"

namespace quench::dictionary {

// Where this rank's tensors go.
at::Device device_of(const cluster::Session& session);

// The devices of the ranks of a group, with NCCL between them.
class GroupDevice {
 public:
  // Collective over `group`, which must outlive it. Nowhere where ranks compute on the CPU, or
  // where `bytes` are too much for the least of their devices, which is logged.
  GroupDevice(const cluster::Session& session, cluster::Communicator& group, double bytes);

  const DevicePlace* place() const { return place_ ? &*place_ : nullptr; }  // null: nowhere

 private:
  std::unique_ptr<cluster::DeviceCommunicator> nccl_;
  std::optional<DevicePlace> place_;
};

}  // namespace quench::dictionary
