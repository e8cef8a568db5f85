#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cluster/communicator.hpp"

struct CUstream_st;

namespace quench::cluster {

// A cudaStream_t; null is the default stream.
using DeviceStream = CUstream_st*;

// Where a rank computes: on a CUDA device, or on the CPU.
struct Device {
  int index = -1;            // among the devices that this process sees; -1: the CPU
  std::string name = "cpu";  // as the vendor calls it
  std::string uuid;          // of the device, of a MIG instance its own; as nvidia-smi -L shows it
  std::int64_t memory = 0;   // bytes
  bool is_cuda() const { return index >= 0; }
};

// "cpu", or "NVIDIA H100 80GB HBM3, 79 GiB, 3f2c...": for the log and the manifest.
std::string describe(const Device& device);

// The devices that this process may use (CUDA_VISIBLE_DEVICES and MIG say which).
struct VisibleDevices {
  std::vector<Device> devices;
  std::string problem;  // why there are none
};
VisibleDevices visible_devices();

// CUDA calls of this thread go to `device` from now on; nothing to do for the CPU. Throws
// ClusterError.
void make_current(const Device& device);

// True in a build with QUENCH_CUDA.
bool built_with_cuda();
// "CUDA 13.0", "NCCL 2.28.9"; nothing in a build without.
std::vector<std::string> device_library_versions();

// Who computes where on one node.
struct NodeDevices {
  std::vector<int> index;                 // of each rank, among the devices that it sees; -1: none
  std::vector<std::vector<int>> sharing;  // ranks that were left with one device between them
};

// Pure. Rank r of the node takes device r modulo the number that it sees; `visible[r]` are their
// UUIDs. Ranks may see different devices, and one device under different indices.
NodeDevices assign_devices(std::span<const std::vector<std::string>> visible);

// Pure. Empty when each rank of the node has a device of its own; else what is wrong and how to
// start instead. `cuda_problem`: what CUDA said to a rank that sees no device.
std::string device_problem(const std::string& host,
                           std::span<const std::vector<std::string>> visible,
                           const std::string& cuda_problem);

struct DeviceDecision {
  Device device;
  std::string note;  // empty, or what is to be told once
};

// Collective over world. `choice` is "cpu", "cuda" (a device of its own for every rank, or
// ConfigError on all ranks), or "auto" (that if it can be had, else the CPU for all ranks, with a
// note).
DeviceDecision choose_device(Communicator& world, Communicator& node, const std::string& host,
                             const std::string& choice);

}  // namespace quench::cluster
