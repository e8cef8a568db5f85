#pragma once

#include <cuda_runtime_api.h>

#include "cluster/device.hpp"
#include "communicator_conformance.hpp"

namespace quench::testing {

// A stream of the current device.
class Stream {
 public:
  Stream();
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cluster::DeviceStream get() const { return stream_; }

 private:
  cluster::DeviceStream stream_ = nullptr;
};

// Throws unless `status` is cudaSuccess.
void require(cudaError_t status, const char* call);

// The check on a communicator over NCCL, whose ranks are those of `host`, on a stream of its own.
// Collective over `host`. The buffers that the check gives to collectives lie on the host: copies
// of them are placed in device memory for the call.
void run_on_device(cluster::Communicator& host, const cluster::Device& device,
                   const ConformanceCheck& check);

}  // namespace quench::testing
