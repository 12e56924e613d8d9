#include "espalier/cuda_emulation/real_cudnn.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace espalier::emulation {

namespace {

#ifndef ESPALIER_CUDNN_LIBRARY
#define ESPALIER_CUDNN_LIBRARY "libcudnn_graph.so.9"
#endif

constexpr std::string_view h100 = R"({
  "deviceVer": 900, "driverVer": 13000, "cudaDeviceId": 0, "deviceName": "NVIDIA H100 80GB HBM3",
  "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64], "regsPerBlock": 65536,
  "multiProcessorCount": 132, "warpSize": 32, "maxSharedMemoryPerBlock": 49152,
  "maxSharedMemoryPerBlockOptin": 232448, "reservedSharedMemoryPerBlock": 1024, "maxRegistersPerSM": 65536,
  "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "pciDeviceId": 0, "isTccDriver": 0,
  "supportCoopLaunch": 1, "smClockRateKHz": 1980000, "memClockRateKHz": 2619000, "l2CacheSize": 52428800,
  "totalGlobalMem": 85899345920})";

template <class Function>
bool find(void* library, Function& function, const char* name) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

bool load(RealCudnn& real) {
  void* const library = dlopen(ESPALIER_CUDNN_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return false;
  if (!find(library, real.create, "cudnnBackendCreateDescriptor") ||
      !find(library, real.destroy, "cudnnBackendDestroyDescriptor") ||
      !find(library, real.finalize, "cudnnBackendFinalize") ||
      !find(library, real.set, "cudnnBackendSetAttribute") ||
      !find(library, real.get, "cudnnBackendGetAttribute") ||
      !find(library, real.last_error, "cudnnGetLastErrorString") ||
      !find(library, real.version, "cudnnGetVersion"))
    return false;
  return real.create(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &real.card) == CUDNN_STATUS_SUCCESS &&
         real.set(real.card, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                  static_cast<int64_t>(h100.size()), h100.data()) == CUDNN_STATUS_SUCCESS &&
         real.finalize(real.card) == CUDNN_STATUS_SUCCESS;
}

}  // namespace

const RealCudnn& real_cudnn() {
  static const RealCudnn loaded = [] {
    const KeepsMemory for_good;
    RealCudnn real = {};
    if (load(real)) return real;
    fmt::print(stderr,
               "cuda emulation: {} cannot be used here, and without it cuDNN's graphs would go unchecked\n",
               ESPALIER_CUDNN_LIBRARY);
    std::abort();
  }();
  return loaded;
}

}  // namespace espalier::emulation
