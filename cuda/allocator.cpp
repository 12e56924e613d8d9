// Device memory and what crosses between it and the host.
#include <algorithm>
#include <bit>
#include <cstring>

#include "espalier/core/out_of_memory.h"
#include "espalier/cuda/runtime.h"

namespace espalier::cuda {
namespace {

constexpr size_t mebibyte = size_t{1} << 20;
constexpr size_t alignment = 256;             // what cudaMalloc promises, two 128-byte lines
constexpr size_t driver_page = 2 * mebibyte;  // what the driver hands out
constexpr size_t least_slab = 16 * driver_page;

class Driver : public SlabSource {
 public:
  Slab take(size_t bytes) override {
    bytes = (bytes + driver_page - 1) / driver_page * driver_page;
    if (bytes < least_slab)
      if (const Slab slab = ask(least_slab); slab.address) return slab;
    return ask(bytes);
  }
  // cudaFree waits for all that runs: nothing that was asked for still needs the slab then.
  void give_back(const Slab& slab) noexcept override {
    if (cudaFree(slab.address) != cudaSuccess) cudaGetLastError();
  }

 private:
  static Slab ask(size_t bytes) {
    void* address = nullptr;
    const cudaError_t status = cudaMalloc(&address, bytes);
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      return {};
    }
    check(status, "cudaMalloc");
    return {static_cast<char*>(address), bytes};
  }
};

MemoryPool& pool() {
  // Never destroyed: tensors with static storage duration may outlive it otherwise, and the driver may not.
  static MemoryPool* const kept = new MemoryPool(*new Driver, alignment);
  return *kept;
}

/// Pinned memory through which uploads go, so that the card reads it on its own: buffers in turn, each free
/// again when the copy out of it is done.
class Staging {
 public:
  void upload(char* device, const char* host, size_t bytes) {
    const std::lock_guard lock(mutex_);
    while (bytes > 0) {
      const size_t piece = std::min(bytes, most);
      Buffer& buffer = next(piece);
      std::memcpy(buffer.data, host, piece);
      ESP_CUDA(cudaMemcpyAsync(device, buffer.data, piece, cudaMemcpyHostToDevice, stream()));
      ESP_CUDA(cudaEventRecord(buffer.copied, stream()));
      device += piece;
      host += piece;
      bytes -= piece;
    }
  }

 private:
  static constexpr size_t most = 4 * mebibyte, least = 64 << 10;
  struct Buffer {
    char* data = nullptr;
    size_t bytes = 0;
    cudaEvent_t copied = nullptr;
  };

  Buffer& next(size_t bytes) {
    Buffer& buffer = buffers_[turn_++ % std::size(buffers_)];
    if (!buffer.copied)
      ESP_CUDA(cudaEventCreateWithFlags(&buffer.copied, cudaEventDisableTiming));
    else
      ESP_CUDA(cudaEventSynchronize(buffer.copied));
    if (buffer.bytes < bytes) {
      if (buffer.data) ESP_CUDA(cudaFreeHost(buffer.data));
      buffer = {nullptr, 0, buffer.copied};
      const size_t size = std::bit_ceil(std::max(bytes, least));
      void* fresh = nullptr;
      ESP_CUDA(cudaHostAlloc(&fresh, size, cudaHostAllocDefault));
      buffer = {static_cast<char*>(fresh), size, buffer.copied};
    }
    return buffer;
  }

  std::mutex mutex_;
  Buffer buffers_[8];
  size_t turn_ = 0;
};

}  // namespace

void* allocate(size_t bytes) {
  stream();  // chooses the card, or says why there is none
  if (void* const block = pool().allocate(bytes)) return block;
  const MemoryStats held = memory_stats();
  const auto mib = [](size_t count) { return join((count + mebibyte - 1) / mebibyte, " MiB"); };
  throw OutOfMemory(
      join("cuda: out of memory: ", mib(bytes), " asked for"),
      join("this program uses ", mib(held.used_bytes), " and holds ", mib(held.system_bytes), "; ",
           mib(free_memory()), " of ", mib(device_info().memory), " are free on ", device_info().name));
}

void release(void* block) noexcept { pool().release(block); }
MemoryStats memory_stats() { return pool().stats(); }
size_t free_memory() {
  stream();
  size_t free = 0, all = 0;
  ESP_CUDA(cudaMemGetInfo(&free, &all));
  return free;
}
void reset_peak_memory() { pool().reset_peak(); }
void trim_memory() { pool().trim(); }

void upload(void* device, const void* host, size_t bytes) {
  static Staging& staging = *new Staging;
  staging.upload(static_cast<char*>(device), static_cast<const char*>(host), bytes);
}

void download(void* host, const void* device, size_t bytes) {
  if (bytes > 0) ESP_CUDA(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream()));
  synchronize();
}

void synchronize() { ESP_CUDA(cudaStreamSynchronize(stream())); }

}  // namespace espalier::cuda
