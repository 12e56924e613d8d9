// The card that is emulated: an H100, by its published properties. How many there are, how old they and the
// driver are, can be told from outside, so that what is said of such machines can be tested:
// ESPALIER_EMULATION_CARDS (1), ESPALIER_EMULATION_DRIVER (13000), ESPALIER_EMULATION_CAPABILITY (90).
#include <cuda_runtime.h>
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <mutex>

#include "espalier/cuda_emulation/memory.h"
#include "espalier/cuda_emulation/problems.h"
#include "espalier/cuda_emulation/streams.h"

namespace espalier::emulation {

namespace {

int told(const char* name, int otherwise) {
  const char* const value = std::getenv(name);
  return value != nullptr ? std::atoi(value) : otherwise;
}
int cards() { return told("ESPALIER_EMULATION_CARDS", 1); }
int driver() { return told("ESPALIER_EMULATION_DRIVER", CUDART_VERSION); }
int capability() { return told("ESPALIER_EMULATION_CAPABILITY", 90); }

thread_local int chosen = 0;

cudaError_t usable() {
  if (driver() == 0 || driver() < CUDART_VERSION / 1000 * 1000) return cudaErrorInsufficientDriver;
  return cards() > 0 ? cudaSuccess : cudaErrorNoDevice;
}

cudaError_t check_card(int index) {
  if (const auto error = usable()) return refuse(error, "told by the environment");
  if (index < 0 || index >= cards()) return refuse(cudaErrorInvalidDevice, fmt::format("card {}", index));
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaDriverGetVersion(int* version) {
  *version = driver();
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  if (const auto error = usable()) return refuse(error, "told by the environment");
  *count = cards();
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int index) {
  if (const auto error = check_card(index)) return error;
  chosen = index;
  return device_error();
}
cudaError_t cudaInitDevice(int index, unsigned, unsigned) { return check_card(index); }
cudaError_t cudaGetDevice(int* index) {
  if (const auto error = usable()) return refuse(error, "told by the environment");
  *index = chosen;
  return cudaSuccess;
}
cudaError_t cudaDeviceReset() { return cudaDeviceSynchronize(); }
cudaError_t cudaSetDeviceFlags(unsigned) { return cudaSuccess; }

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int index) {
  if (const auto error = check_card(index)) return error;
  cudaDeviceProp p = {};
  std::strncpy(p.name, "NVIDIA H100 80GB HBM3 (emulated)", sizeof p.name - 1);
  p.major = capability() / 10;
  p.minor = capability() % 10;
  p.totalGlobalMem = device_memory();
  p.multiProcessorCount = 132;
  p.warpSize = 32;
  p.maxThreadsPerBlock = 1024;
  p.maxThreadsDim[0] = p.maxThreadsDim[1] = 1024;
  p.maxThreadsDim[2] = 64;
  p.maxGridSize[0] = 0x7fffffff;
  p.maxGridSize[1] = p.maxGridSize[2] = 65535;
  p.maxThreadsPerMultiProcessor = 2048;
  p.maxBlocksPerMultiProcessor = 32;
  p.regsPerBlock = p.regsPerMultiprocessor = 65536;
  p.sharedMemPerBlock = size_t{48} << 10;
  p.sharedMemPerBlockOptin = size_t{227} << 10;
  p.sharedMemPerMultiprocessor = size_t{228} << 10;
  p.reservedSharedMemPerBlock = 1024;
  p.l2CacheSize = 50 << 20;
  p.memoryBusWidth = 5120;
  p.memPitch = 0x7fffffff;
  p.totalConstMem = 65536;
  p.unifiedAddressing = p.canMapHostMemory = p.concurrentKernels = p.ECCEnabled = 1;
  p.cooperativeLaunch = p.memoryPoolsSupported = 1;
  p.asyncEngineCount = 3;
  *properties = p;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int index) {
  cudaDeviceProp p;
  if (const auto error = cudaGetDeviceProperties(&p, index)) return error;
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = p.multiProcessorCount;
      break;
    case cudaDevAttrWarpSize:
      *value = p.warpSize;
      break;
    case cudaDevAttrMaxThreadsPerBlock:
      *value = p.maxThreadsPerBlock;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = p.maxThreadsPerMultiProcessor;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = static_cast<int>(p.sharedMemPerBlock);
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(p.sharedMemPerBlockOptin);
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = static_cast<int>(p.sharedMemPerMultiprocessor);
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = p.major;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = p.minor;
      break;
    case cudaDevAttrL2CacheSize:
      *value = p.l2CacheSize;
      break;
    case cudaDevAttrClockRate:
      *value = 1980000;
      break;
    case cudaDevAttrMemoryClockRate:
      *value = 2619000;
      break;
    case cudaDevAttrGlobalMemoryBusWidth:
      *value = p.memoryBusWidth;
      break;
    default:
      return refuse(cudaErrorInvalidValue,
                    fmt::format("device attribute {} is not emulated", static_cast<int>(attribute)));
  }
  return cudaSuccess;
}

}  // extern "C"

}  // namespace espalier::emulation
