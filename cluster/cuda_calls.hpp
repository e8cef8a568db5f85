#pragma once

// Inside cluster/ only, and in builds with CUDA: the runtime's status codes as exceptions.
#include <cuda_runtime_api.h>

#include <string>

#include "cluster/error.hpp"

namespace quench::cluster {

// Throws ClusterError (call, CUDA's text) unless `status` is cudaSuccess.
inline void check_cuda(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  throw ClusterError(std::string(call) + " failed: " + cudaGetErrorName(status) + ": " +
                     cudaGetErrorString(status));
}

}  // namespace quench::cluster
