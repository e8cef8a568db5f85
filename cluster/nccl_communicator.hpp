#pragma once

#include <memory>

#include "cluster/communicator.hpp"
#include "cluster/device.hpp"
#include "cluster/watchdog.hpp"

namespace quench::cluster {

// A communicator whose buffers lie in device memory. Its collectives enqueue on a stream and
// return: what they write is there for later work of the stream, and for the host after wait(); the
// buffers must live until then. barrier() waits for the work of all ranks.
class DeviceCommunicator : public Communicator {
 public:
  // Returns when all work enqueued on the stream is done. Throws ClusterError when NCCL reports
  // that a collective failed after it was enqueued.
  virtual void wait() = 0;
};

// Collective over `host`. NCCL over the ranks of `host`, which must outlive it; each needs a device
// of its own (see choose_device), which becomes the calling thread's current one. Collectives go to
// `stream` of that device. Splits, tickets and shared memory are the host communicator's, with the
// stream waited for first, so that a rank never has calls of MPI and NCCL in flight together; the
// caller must wait() likewise before using `host` itself. Throws ClusterError on all ranks when a
// device cannot be used or two ranks share one, ConfigError in a build without CUDA. A failed
// collective aborts the communicator; all later calls throw ClusterError. `watchdog` (may be null)
// watches wait() and the connecting.
std::unique_ptr<DeviceCommunicator> make_nccl_communicator(Communicator& host, const Device& device,
                                                           DeviceStream stream = nullptr,
                                                           Watchdog* watchdog = nullptr);

}  // namespace quench::cluster
