// Device memory and what crosses between it and the host.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "espalier/core/out_of_memory.h"
#include "espalier/cuda/runtime.h"
#include "espalier/util/utf8.h"

namespace espalier::cuda {
namespace {

constexpr size_t mebibyte = size_t{1} << 20;
constexpr size_t alignment = 256;             // what cudaMalloc promises, two 128-byte lines
constexpr size_t driver_page = 2 * mebibyte;  // what the driver hands out
constexpr size_t least_slab = 16 * driver_page;

/// ESPALIER_CUDA_ALLOCATOR=plain: every block is a cudaMalloc of its own, of the bytes asked for and freed as
/// soon as it is released, so that compute-sanitizer sees what oversteps a tensor. Slow, and without graphs.
bool plain() {
  static const bool wished = [] {
    const char* const text = std::getenv("ESPALIER_CUDA_ALLOCATOR");
    const std::string_view wish = text ? text : "";
    if (wish != "" && wish != "caching" && wish != "plain")
      fail_usage("ESPALIER_CUDA_ALLOCATOR: found '", printable(std::string(wish)),
                 "', expected caching or plain");
    return wish == "plain";
  }();
  return wished;
}

class Driver : public SlabSource {
 public:
  Slab take(size_t bytes) override {
    if (plain()) return ask(bytes);
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
    ESP_CHECK(!Graph::capturing(), "cuda: a graph wants ", bytes,
              " bytes of the driver, which gives nothing to a capture");
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
  static MemoryPool* const kept = new MemoryPool(*new Driver, plain() ? 1 : alignment);
  return *kept;
}

/// Pinned memory through which uploads go, so that the card reads it on its own: buffers in turn, each free
/// again when the copy out of it is done.
class Staging {
 public:
  void upload(char* device, const char* host, size_t bytes) {
    const std::lock_guard lock(mutex_);
    while (bytes > 0) {
      const size_t piece = std::min(bytes, max_piece);
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
  static constexpr size_t max_piece = 4 * mebibyte, least = 64 << 10;
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

/// What private memory is made of: blocks of the pool.
class Blocks : public SlabSource {
 public:
  Slab take(size_t bytes) override {
    constexpr size_t least = 4 * driver_page;
    bytes = std::max((bytes + driver_page - 1) / driver_page * driver_page, least);
    return {static_cast<char*>(pool().allocate(bytes)), bytes};
  }
  void give_back(const Slab& slab) noexcept override {
    all_there = false;
    pool().release(slab.address);
  }

  std::atomic<bool> all_there = false;  // since hold()
};

thread_local MemoryPool* in_use = nullptr;  // of a private memory; null: none

}  // namespace

struct PrivateMemory::Part {
  Blocks source;
  MemoryPool pool{source, alignment};
  bool ended = false;
};

/// All private memories of which somebody may hold a block: those that live, and those that are gone but for
/// such blocks.
class PrivateMemories {
 public:
  static PrivateMemories& all() {
    static auto* const kept = new PrivateMemories;  // never destroyed, as the pool
    return *kept;
  }

  PrivateMemory::Part* make() {
    const std::lock_guard lock(mutex_);
    return parts_.emplace_back(std::make_unique<PrivateMemory::Part>()).get();
  }
  void end(PrivateMemory::Part* part) noexcept {
    const std::lock_guard lock(mutex_);
    part->ended = true;
    part->pool.trim();
    drop_empty();
  }
  /// False for a block of none of them.
  bool release(void* block) noexcept {
    const std::lock_guard lock(mutex_);
    const auto it =
        std::ranges::find_if(parts_, [block](const auto& part) { return part->pool.release(block); });
    if (it == parts_.end()) return false;
    if ((*it)->ended) {
      (*it)->pool.trim();
      drop_empty();
    }
    return true;
  }
  /// False where nothing could be given back.
  bool trim() noexcept {
    const std::lock_guard lock(mutex_);
    const size_t used = pool().stats().used_bytes;
    for (const auto& part : parts_) part->pool.trim();
    return pool().stats().used_bytes < used;
  }

 private:
  void drop_empty() {
    std::erase_if(parts_, [](const auto& part) { return part->ended && part->pool.stats().used_bytes == 0; });
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<PrivateMemory::Part>> parts_;
};

PrivateMemory::PrivateMemory() : part_(PrivateMemories::all().make()) {}
PrivateMemory::~PrivateMemory() { PrivateMemories::all().end(part_); }
void PrivateMemory::trim() { part_->pool.trim(); }
void PrivateMemory::hold() { part_->source.all_there = true; }
bool PrivateMemory::held() const { return part_->source.all_there; }
PrivateMemory::Use::Use(PrivateMemory& memory) : before_(std::exchange(in_use, &memory.part_->pool)) {}
PrivateMemory::Use::~Use() { in_use = before_; }

void* allocate(size_t bytes) {
  stream();  // chooses the card, or says why there is none
  MemoryPool& from = in_use && !plain() ? *in_use : pool();
  if (void* const block = from.allocate(bytes)) return block;
  if (PrivateMemories::all().trim())
    if (void* const block = from.allocate(bytes)) return block;
  const MemoryStats held = memory_stats();
  const auto mib = [](size_t count) { return join((count + mebibyte - 1) / mebibyte, " MiB"); };
  throw OutOfMemory(
      join("cuda: out of memory: ", mib(bytes), " asked for"),
      join("this program uses ", mib(held.used_bytes), " and holds ", mib(held.system_bytes), "; ",
           mib(free_memory()), " of ", mib(device_info().memory), " are free on ", device_info().name));
}

void release(void* block) noexcept {
  if (!PrivateMemories::all().release(block)) pool().release(block);
  if (plain()) pool().trim();
}
bool Graph::possible() { return !plain(); }
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
  ESP_CHECK(bytes == 0 || !Graph::capturing(), "cuda: a graph cannot hold a copy of what the host has now");
  static Staging& staging = *new Staging;
  staging.upload(static_cast<char*>(device), static_cast<const char*>(host), bytes);
}

void download(void* host, const void* device, size_t bytes) {
  if (bytes > 0) ESP_CUDA(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream()));
  synchronize();
}

void synchronize() { ESP_CUDA(cudaStreamSynchronize(stream())); }

}  // namespace espalier::cuda
