#include "espalier/cuda/launch.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string_view>

#include "espalier/core/parallel.h"
#include "espalier/cuda_emulation/emulation.h"
#include "espalier/cuda_emulation/memory.h"
#include "espalier/cuda_emulation/problems.h"
#include "espalier/cuda_emulation/streams.h"

namespace espalier::emulation {

namespace {

constexpr size_t guard_page = 4096;
constexpr int shared_by_default = 48 << 10, shared_at_most = 227 << 10;

std::map<const void*, int> shared_limit;  // by kernel, where cudaFuncSetAttribute raised it

std::string place(const Site& where) {
  const std::string_view path = where.file_name();
  return fmt::format("kernel launched at {}:{}", path.substr(path.rfind('/') + 1), where.line());
}

/// A block's dynamic shared memory: ends where nobody may touch the next byte (in steps of 16).
class DynamicShared {
 public:
  DynamicShared() {
    void* const mapping = mmap(nullptr, bytes + guard_page, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) std::abort();
    begin_ = static_cast<char*>(mapping);
    mprotect(begin_ + bytes, guard_page, PROT_NONE);
  }
  ~DynamicShared() { munmap(begin_, bytes + guard_page); }
  DynamicShared(const DynamicShared&) = delete;
  DynamicShared& operator=(const DynamicShared&) = delete;
  /// Not initialised: NaNs.
  void* of(size_t wanted) {
    wanted = (wanted + 15) / 16 * 16;
    return std::memset(begin_ + bytes - wanted, 0xff, wanted);
  }

 private:
  static constexpr size_t bytes = 256 << 10;
  char* begin_;
};

void run_grid(const KernelLaunch& launch) {
  const int64_t x = launch.grid.x, y = launch.grid.y, blocks = x * y * launch.grid.z;
  const std::string what = place(launch.where);
  set_running_kernel(&what);
  std::atomic<bool> failed = false;
  std::string problem;
#if defined(__SANITIZE_ADDRESS__)
  const int parts = 1;  // its __shared__ arrays exist once
#else
  const int64_t threads = blocks * launch.block.x * launch.block.y * launch.block.z;
  const int parts = threads < 8192 ? 1 : parts_for(blocks, 1);
#endif
  parallel_items(blocks, parts, [&](int, int64_t i) {
    static thread_local DynamicShared shared;
    if (failed.load(std::memory_order_relaxed)) return;
    const uint3 index = {static_cast<unsigned>(i % x), static_cast<unsigned>(i / x % y),
                         static_cast<unsigned>(i / (x * y))};
    void* const memory = launch.shared > 0 ? shared.of(launch.shared) : nullptr;
    std::string found = run_block({launch.grid, launch.block, index, &launch.body, memory, order()});
    if (!found.empty() && !failed.exchange(true)) problem = std::move(found);
  });
  set_running_kernel(nullptr);
  if (failed) break_device(cudaErrorLaunchFailure, fmt::format("{}, {}", what, problem));
}

Order order_of_environment() {
  const char* const told = std::getenv("ESPALIER_EMULATION_ORDER");
  const std::string_view name = told != nullptr ? told : "";
  return name == "descending" ? Order::descending : name == "shuffled" ? Order::shuffled : Order::ascending;
}
Order& chosen_order() {
  static Order order = order_of_environment();
  return order;
}

}  // namespace

void set_order(Order order) { chosen_order() = order; }
Order order() { return chosen_order(); }

void ArgumentCheck::refuse_argument(const void* address) {
  const std::scoped_lock lock(api_mutex());
  result_ =
      refuse(cudaErrorIllegalAddress, fmt::format("{}: argument {} points to host memory or to none: {}",
                                                  place(where_), index_, describe(address)));
}
void ArgumentCheck::pointer(const void* address) {
  const std::scoped_lock lock(api_mutex());
  if (address != nullptr && !on_device(address)) refuse_argument(address);
}
void ArgumentCheck::object(const void* object, size_t bytes) {
  const std::scoped_lock lock(api_mutex());
#if defined(__SANITIZE_ADDRESS__)
  constexpr uintptr_t lowest = 0x10007fff8000;  // below lies its shadow memory
#elif defined(__SANITIZE_THREAD__)
  constexpr uintptr_t lowest = 0x7b0000000000;  // as above; its heap begins here
#else
  constexpr uintptr_t lowest = uintptr_t{1} << 32;
#endif
  constexpr uintptr_t highest = uintptr_t{1} << 47;  // what is smaller or larger are counts
  for (size_t at = 0; at + sizeof(uintptr_t) <= bytes; at += sizeof(uintptr_t)) {
    uintptr_t word = 0;
    std::memcpy(&word, static_cast<const char*>(object) + at, sizeof word);
    const auto* const address = reinterpret_cast<const void*>(word);
    if (word >= lowest && word < highest && is_foreign(address)) refuse_argument(address);
  }
}

cudaError_t enqueue_kernel(cudaStream_t stream, KernelLaunch launch) {
  const std::scoped_lock lock(api_mutex());
  const dim3 grid = launch.grid, block = launch.block;
  const auto bad = [&](cudaError_t code, const std::string& why) {
    return refuse(code, fmt::format("{}: {}", place(launch.where), why));
  };
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > 1024 || block.z > 64)
    return bad(cudaErrorInvalidConfiguration, fmt::format("{} threads in a block", threads));
  if (threads % 32 != 0)
    return bad(cudaErrorInvalidConfiguration, fmt::format("{} threads in a block, not whole warps", threads));
  if (grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffU || grid.y > 65535 || grid.z > 65535)
    return bad(cudaErrorInvalidConfiguration, fmt::format("a grid of {} x {} x {}", grid.x, grid.y, grid.z));
  const auto raised = shared_limit.find(launch.kernel);
  const int limit = raised != shared_limit.end() ? raised->second : shared_by_default;
  if (launch.shared > static_cast<size_t>(limit))
    return bad(cudaErrorInvalidValue, fmt::format("{} bytes of dynamic shared memory, the kernel may have {}",
                                                  launch.shared, limit));
  if (!captures(stream)) ++counters().launches;
  return enqueue(stream, [launch = std::move(launch)] { run_grid(launch); });
}

extern "C" {

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  const std::scoped_lock lock(api_mutex());
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value > shared_at_most)
    return refuse(cudaErrorInvalidValue,
                  fmt::format("{} bytes of shared memory, a block has at most {}", value, shared_at_most));
  shared_limit[kernel] = value;
  return cudaSuccess;
}

}  // extern "C"

}  // namespace espalier::emulation
