// The runtime's calls for memory: device and pinned memory, copies between the two sides.
#include <cuda_runtime.h>
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "espalier/cuda_emulation/emulation.h"
#include "espalier/cuda_emulation/memory.h"
#include "espalier/cuda_emulation/problems.h"
#include "espalier/cuda_emulation/streams.h"

namespace espalier::emulation {

namespace {

std::map<const char*, size_t> pinned;  // the host's memory that copies may read and write at any time

bool is_pinned(const void* address, size_t bytes) {
  auto it = pinned.upper_bound(static_cast<const char*>(address));
  if (it == pinned.begin()) return false;
  --it;
  return static_cast<const char*>(address) + bytes <= it->first + it->second;
}

const char* side(bool device) { return device ? "device" : "host"; }

/// What a copy goes from and to.
struct Copy {
  void* to;
  const void* from;
  size_t bytes;
  bool from_device, to_device;
};

/// The copy by what its direction says, which must be so.
cudaError_t directed(Copy& copy, cudaMemcpyKind kind) {
  copy.from_device = on_device(copy.from);
  copy.to_device = on_device(copy.to);
  if (kind != cudaMemcpyDefault) {
    const bool says_from = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    const bool says_to = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    if (says_from != copy.from_device || says_to != copy.to_device)
      return refuse(cudaErrorInvalidMemcpyDirection,
                    fmt::format("a copy said to go from {} to {}, from {} to {}", side(says_from),
                                side(says_to), copy.from_device ? "device" : "host memory or freed",
                                copy.to_device ? "device" : "host memory or freed"));
  }
  if (copy.from_device && !on_device(copy.from, copy.bytes))
    return refuse(cudaErrorInvalidValue,
                  fmt::format("a copy of {} bytes from {}", copy.bytes, describe(copy.from)));
  if (copy.to_device && !on_device(copy.to, copy.bytes))
    return refuse(cudaErrorInvalidValue,
                  fmt::format("a copy of {} bytes to {}", copy.bytes, describe(copy.to)));
  return cudaSuccess;
}

cudaError_t enqueue_copy(Copy copy, cudaMemcpyKind kind, cudaStream_t stream) {
  if (copy.bytes == 0) return cudaSuccess;
  if (const auto error = directed(copy, kind)) return error;
  const auto [to, from, bytes, from_device, to_device] = copy;
  counters().uploads += to_device && !from_device ? 1 : 0;
  counters().downloads += from_device && !to_device ? 1 : 0;
  if (!from_device && !is_pinned(from, bytes)) {
    if (const auto error = captures(stream) ? refuse_in_capture("a copy of unpinned memory") : cudaSuccess)
      return error;
    // The driver reads such memory before the call returns.
    const auto* const begin = static_cast<const char*>(from);
    auto staged = std::make_shared<const std::vector<char>>(begin, begin + bytes);
    return enqueue(stream, [to, staged] { std::memcpy(to, staged->data(), staged->size()); });
  }
  // To unpinned memory the driver waits with the host. What is there when the call returns is not to be
  // relied on.
  if (!to_device && from_device && !is_pinned(to, bytes)) {
    if (const auto error = captures(stream) ? refuse_in_capture("a copy to unpinned memory") : cudaSuccess)
      return error;
    ++counters().synchronisations;
  }
  return enqueue(stream, [to = to, from = from, bytes = bytes] { std::memmove(to, from, bytes); });
}

cudaError_t pin(void** address, size_t bytes) {
  const std::scoped_lock lock(api_mutex());
  if (const auto error = refuse_in_capture("an allocation of pinned memory")) return error;
  ++counters().allocations;
  *address = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (*address == nullptr) return refuse(cudaErrorMemoryAllocation, fmt::format("{} pinned bytes", bytes));
  pinned[static_cast<char*>(*address)] = bytes;
  return device_error();
}

cudaError_t allocate(void** address, size_t bytes) {
  ++counters().allocations;
  *address = allocate_device(bytes);
  if (*address != nullptr) return device_error();
  return refuse(cudaErrorMemoryAllocation,
                fmt::format("{} bytes wanted, {} of {} used", bytes, device_memory_used(), device_memory()));
}

cudaError_t release(void* address) {
  if (release_device(address)) return device_error();
  return refuse(
      cudaErrorInvalidValue,
      fmt::format("cudaFree of an address that is not the begin of a block: {}", describe(address)));
}

}  // namespace

extern "C" {

cudaError_t cudaMalloc(void** address, size_t bytes) {
  const std::scoped_lock lock(api_mutex());
  if (const auto error = refuse_in_capture("cudaMalloc")) return error;
  return allocate(address, bytes);
}
cudaError_t cudaFree(void* address) {
  const std::scoped_lock lock(api_mutex());
  if (address == nullptr) return device_error();
  if (const auto error = refuse_in_capture("cudaFree")) return error;
  ++counters().frees;
  if (const auto error = wait_for_all()) return error;  // as the driver does
  return release(address);
}
cudaError_t cudaMallocAsync(void** address, size_t bytes, cudaStream_t stream) {
  const std::scoped_lock lock(api_mutex());
  if (captures(stream)) return refuse_in_capture("cudaMallocAsync");
  return allocate(address, bytes);
}
cudaError_t cudaFreeAsync(void* address, cudaStream_t stream) {
  const std::scoped_lock lock(api_mutex());
  if (captures(stream)) return refuse_in_capture("cudaFreeAsync");
  ++counters().frees;
  return enqueue(stream, [address] {
    if (const auto error = release(address)) break_device(error, "cudaFreeAsync of what is no block");
  });
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const std::scoped_lock lock(api_mutex());
  *total = device_memory();
  *free = *total - device_memory_used();
  return device_error();
}

cudaError_t cudaHostAlloc(void** address, size_t bytes, unsigned) { return pin(address, bytes); }
cudaError_t cudaMallocHost(void** address, size_t bytes) { return pin(address, bytes); }
cudaError_t cudaFreeHost(void* address) {
  const std::scoped_lock lock(api_mutex());
  if (address == nullptr) return device_error();
  if (pinned.erase(static_cast<char*>(address)) == 0)
    return refuse(cudaErrorInvalidValue, "cudaFreeHost of what is not pinned");
  const auto error = wait_for_all();  // as the driver does
  std::free(address);
  return error;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  const std::scoped_lock lock(api_mutex());
  return enqueue_copy({to, from, bytes, false, false}, kind, stream);
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const std::scoped_lock lock(api_mutex());
  if (const auto error = refuse_in_capture("cudaMemcpy")) return error;
  if (const auto error = enqueue_copy({to, from, bytes, false, false}, kind, nullptr)) return error;
  return wait_for(nullptr);
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  const std::scoped_lock lock(api_mutex());
  if (bytes == 0) return cudaSuccess;
  if (!on_device(to, bytes))
    return refuse(cudaErrorInvalidValue, fmt::format("a fill of {} bytes of {}", bytes, describe(to)));
  return enqueue(stream, [=] { std::memset(to, value, bytes); });
}
cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  return cudaMemsetAsync(to, value, bytes, nullptr);
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  const std::scoped_lock lock(api_mutex());
  *attributes = {};
  attributes->type = on_device(address)      ? cudaMemoryTypeDevice
                     : is_pinned(address, 1) ? cudaMemoryTypeHost
                                             : cudaMemoryTypeUnregistered;
  return cudaSuccess;
}

}  // extern "C"

}  // namespace espalier::emulation
