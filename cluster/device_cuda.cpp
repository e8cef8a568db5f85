// What device.hpp declares, for a build with CUDA.
#include <cuda.h>
#include <nccl.h>
#include <spdlog/fmt/fmt.h>

#include "cluster/cuda_calls.hpp"
#include "cluster/device.hpp"

namespace quench::cluster {
namespace {

// The driver's second version of the call knows MIG instances, the properties name the whole card.
CUuuid uuid_of(int index) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  check_cuda(cudaGetDriverEntryPointByVersion("cuDeviceGetUuid", &function, 11040,
                                              cudaEnableDefault, &found),
             "cudaGetDriverEntryPointByVersion");
  CUuuid uuid{};
  const auto get = reinterpret_cast<CUresult (*)(CUuuid*, CUdevice)>(function);
  if (found != cudaDriverEntryPointSuccess || get(&uuid, index) != CUDA_SUCCESS)
    throw ClusterError("cuDeviceGetUuid failed for device " + std::to_string(index));
  return uuid;
}

std::string text_of(const CUuuid& uuid) {
  std::string text;
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += fmt::format("{:02x}", static_cast<unsigned char>(uuid.bytes[i]));
  }
  return text;
}

std::string version_text(int version) {  // 13000 is 13.0
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

}  // namespace

VisibleDevices visible_devices() {
  VisibleDevices visible;
  int count = 0;
  try {
    check_cuda(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
    for (int i = 0; i < count; ++i) {
      cudaDeviceProp properties{};
      check_cuda(cudaGetDeviceProperties(&properties, i), "cudaGetDeviceProperties");
      visible.devices.push_back({i, properties.name, text_of(uuid_of(i)),
                                 static_cast<std::int64_t>(properties.totalGlobalMem)});
    }
  } catch (const ClusterError& error) {
    cudaGetLastError();  // or the next call would report it once more
    return {{}, error.what()};
  }
  return visible;
}

void make_current(const Device& device) {
  if (device.is_cuda()) check_cuda(cudaSetDevice(device.index), "cudaSetDevice");
}

bool built_with_cuda() { return true; }

std::vector<std::string> device_library_versions() {
  int runtime = 0, driver = 0, nccl = 0;
  cudaRuntimeGetVersion(&runtime);
  cudaDriverGetVersion(&driver);
  ncclGetVersion(&nccl);
  const auto with_driver = driver > 0 ? "driver for " + version_text(driver) : "no driver";
  return {fmt::format("CUDA {} ({})", version_text(runtime), with_driver),
          fmt::format("NCCL {}.{}.{}", nccl / 10000, nccl / 100 % 100, nccl % 100)};
}

}  // namespace quench::cluster
