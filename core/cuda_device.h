// What core needs of the CUDA side (cuda/) beside kernels: memory, copies, and the device itself. Fulfilled
// in builds with ESPALIER_CUDA; in others nothing calls it.
//
// All work goes to one stream, cuda::stream() (cuda/runtime.h), in the order in which it is asked for, and
// runs asynchronously to the host; only download() and synchronize() wait for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "espalier/core/memory_pool.h"
#include "espalier/util/error.h"

struct CUgraphExec_st;  // CUDA's own name

namespace espalier::cuda {

/// How products and convolutions are computed: exactly as f32, with operands rounded to 10 bits of mantissa
/// and sums in f32 (TensorFloat-32), or in bf16: images come as bf16 (core/bf16.h), activations and their
/// gradients stay that, and sums are f32. What is f32 still is then computed as under tf32.
enum class Precision : uint8_t { f32, tf32, bf16 };
void set_precision(Precision precision);
Precision precision();

struct DeviceInfo {
  std::string name;                    ///< "NVIDIA H200"
  int index = 0;                       ///< among those that the driver shows
  int major = 0, minor = 0;            ///< compute capability
  std::string driver, runtime, cudnn;  ///< versions: "580.159.04", "13.0", "9.19.0"
  size_t memory = 0;                   ///< bytes, in all
};

/// Chooses the card for this process, before anything else here is called; later calls may only repeat the
/// same index. UsageError, one line, where there is no driver, a driver that is too old, no card, no card of
/// that index, or one older than what this program was built for.
void select_device(int index);
/// Of the selected card (0 unless select_device said another).
const DeviceInfo& device_info();
/// True where select_device(index) would choose it.
bool can_select_device(int index) noexcept;
/// Cards that the driver shows; 0 also where there is no driver. Never throws.
int device_count() noexcept;

/// A block of device memory, 256-byte aligned, not initialised, from a caching allocator: once a step has
/// run, the next asks the driver for nothing. In stream order: a block that is released may be handed out at
/// once. Error, with what was asked for, what is used and what is free, where the card has no more.
void* allocate(size_t bytes);
void release(void* block) noexcept;
using MemoryStats = AllocatorStats;  ///< its system is the driver
MemoryStats memory_stats();
/// Bytes that the driver has left, for any program.
size_t free_memory();
void reset_peak_memory();
/// Gives blocks that are wholly free back to the driver.
void trim_memory();

/// Host to device; `host` may be changed as soon as this returns.
void upload(void* device, const void* host, size_t bytes);
/// Device to host; waits until it is there.
void download(void* host, const void* device, size_t bytes);
/// Waits until all that was asked for is done; an Error of a kernel surfaces here at the latest.
void synchronize();

/// A call to the card or its libraries failed. What failed may be work that was asked for earlier.
class DeviceError : public Error {
 public:
  using Error::Error;
};

/// Device memory apart from all other, for work that is done again and again at the same addresses: also
/// what is free in it is in nobody else's hands. Where the card has no more, it goes to who asks.
class PrivateMemory {
 public:
  PrivateMemory();
  /// What is in use stays so until it is released; the rest goes back.
  ~PrivateMemory();
  PrivateMemory(const PrivateMemory&) = delete;
  PrivateMemory& operator=(const PrivateMemory&) = delete;

  /// Gives back what is free.
  void trim();
  /// From here on all of it is needed, until something of it goes back.
  void hold();
  /// Whether all is still there that was when hold() was called.
  bool held() const;

  /// While one lives, what this thread allocates is of that memory.
  class Use {
   public:
    explicit Use(PrivateMemory& memory);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    MemoryPool* before_;
  };

 private:
  struct Part;
  friend class PrivateMemories;
  Part* part_;
};

/// Work that is asked for once and done many times, at the cost of one call each time: a CUDA graph. It
/// reads and writes the addresses that it was captured with.
class Graph {
 public:
  /// Of what `work` asks of the card, of which nothing is done yet. Error where `work` waits, or copies
  /// between host and device, or wants memory that only the driver has; what it changed on the host it has.
  explicit Graph(const std::function<void()>& work);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void launch();
  /// Kernels, products and convolutions in it.
  int64_t size() const { return size_; }
  /// While this thread captures one.
  static bool capturing();
  /// Not under ESPALIER_CUDA_ALLOCATOR=plain, where every block is asked of the driver.
  static bool possible();

 private:
  CUgraphExec_st* executable_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace espalier::cuda
