#include "espalier/cuda_emulation/memory.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>

#include "espalier/cuda_emulation/block.h"
#include "espalier/cuda_emulation/problems.h"

namespace espalier::emulation {

namespace {

constexpr size_t page = 4096, alignment = 256;
constexpr size_t huge_page = size_t{2}
                             << 20;  // a thousand times less to do than small ones when access changes
#if defined(__SANITIZE_THREAD__)
constexpr size_t arena_bytes = size_t{1} << 38;  // of the addresses that it leaves a program
#else
constexpr size_t arena_bytes = size_t{1} << 40;  // of addresses
#endif
constexpr size_t most_filled = size_t{256} << 20;  // larger blocks begin as zeros that take no memory
constexpr int untouched = 0xff;                    // four of them are a NaN

constexpr size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

/// [pages.., block, slack][a page that nobody may touch]
struct Allocation {
  size_t bytes;
  char *pages, *end;  // its pages; the block ends within `alignment` of the end
  bool freed;
};
std::map<char*, Allocation> blocks;  // by where each begins; freed ones, too, for messages
char* arena = nullptr;
size_t arena_used = 0, memory_used = 0;
int depth = 0;  // of DeviceWork
std::atomic<const std::string*> running_kernel = nullptr;
struct sigaction previous_action;

const std::pair<char* const, Allocation>* block_before(const void* address) {
  auto it = blocks.upper_bound(static_cast<char*>(const_cast<void*>(address)));
  return it == blocks.begin() ? nullptr : &*--it;
}

void say(const std::string& line) {
  [[maybe_unused]] const auto written = write(STDERR_FILENO, line.data(), line.size());
}

/// A fault among device addresses is said in words; then the process ends as without this.
void explain_fault(int signal, siginfo_t* info, void*) {
  const auto* const address = static_cast<const char*>(info->si_addr);
  const bool of_device = address >= arena && address < arena + arena_bytes;
  const std::string* const kernel = running_kernel;
  if (in_kernel())
    say(fmt::format("cuda emulation: {}, {}: touches {}\n", kernel != nullptr ? *kernel : "a kernel",
                    kernel_position(),
                    of_device ? "device memory " + describe(address) : "memory that it may not"));
  else if (of_device)
    say(fmt::format("cuda emulation: {} touches device memory {}\n",
                    depth > 0 ? "a copy or a library" : "the host", describe(address)));
  sigaction(signal, &previous_action, nullptr);  // and the fault comes again
}

bool reserve_arena() {
  if (arena != nullptr) return true;
  void* const mapping =
      mmap(nullptr, arena_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) return false;
  arena = static_cast<char*>(mapping);
  arena_used = 16 * page;
  struct sigaction action = {};
  action.sa_sigaction = &explain_fault;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, &previous_action);
  return true;
}

void protect(const Allocation& block, int access) {
  mprotect(block.pages, static_cast<size_t>(block.end - block.pages), access);
}

bool is_untouched(const char* begin, const char* end) {
  return std::all_of(begin, end, [](char c) { return static_cast<unsigned char>(c) == untouched; });
}

void mark_untouched(char* begin, const char* end) {
  std::memset(begin, untouched, static_cast<size_t>(end - begin));
}

}  // namespace

size_t device_memory() {
  static const size_t bytes = [] {
    const char* const told = std::getenv("ESPALIER_EMULATION_MEMORY");
    return told != nullptr ? std::strtoull(told, nullptr, 10) : size_t{80} << 30;
  }();
  return bytes;
}
size_t device_memory_used() { return memory_used; }

void* allocate_device(size_t bytes) {
  bytes = std::max<size_t>(bytes, 1);
  const size_t held = round_up(round_up(bytes, alignment), page);
  if (memory_used + bytes > device_memory() || !reserve_arena()) return nullptr;
  if (held >= huge_page)
    while (reinterpret_cast<uintptr_t>(arena + arena_used) % huge_page != 0) arena_used += page;
  if (arena_used + held + page > arena_bytes) return nullptr;
  char* const pages = arena + arena_used;
  if (mprotect(pages, held, PROT_READ | PROT_WRITE) != 0) return nullptr;
  if (held >= huge_page) madvise(pages, held, MADV_HUGEPAGE);
  arena_used += held + page;
  memory_used += bytes;
  char* const begin = pages + held - round_up(bytes, alignment);
  mark_untouched(pages, bytes <= most_filled ? pages + held : begin);
  mark_untouched(begin + bytes, pages + held);
  const Allocation& block = blocks[begin] = {bytes, pages, pages + held, false};
  if (depth == 0) protect(block, PROT_NONE);
  return begin;
}

bool release_device(void* address) {
  const auto it = blocks.find(static_cast<char*>(address));
  if (it == blocks.end() || it->second.freed) return false;
  Allocation& block = it->second;
  memory_used -= block.bytes;
  block.freed = true;
  madvise(block.pages, static_cast<size_t>(block.end - block.pages), MADV_DONTNEED);
  protect(block, PROT_NONE);
  return true;
}

bool on_device(const void* address, size_t bytes) {
  const auto* const found = block_before(address);
  return found != nullptr && !found->second.freed &&
         static_cast<const char*>(address) + bytes <= found->first + found->second.bytes;
}

bool is_foreign(const void* address) {
  const auto* const at = static_cast<const char*>(address);
  if (arena != nullptr && at >= arena && at < arena + arena_bytes) {
    const auto* const found = block_before(address);
    return found != nullptr && found->second.freed && at < found->first + found->second.bytes;
  }
  unsigned char resident = 0;
  void* const start = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(address) & ~(page - 1));
  return mincore(start, page, &resident) == 0;  // the host has such a page
}

std::string describe(const void* address) {
  const auto* const at = static_cast<const char*>(address);
  const auto* const found = block_before(address);
  if (found == nullptr) return fmt::format("{}, which is in no block", address);
  const auto& [begin, block] = *found;
  const char* const freed = block.freed ? " that was freed" : "";
  const size_t offset = static_cast<size_t>(at - begin);
  if (offset < block.bytes)
    return fmt::format("at byte {} of a block of {} bytes{}", offset, block.bytes, freed);
  return fmt::format("{} bytes past a block of {} bytes{}", offset - block.bytes, block.bytes, freed);
}

DeviceWork::DeviceWork() {
  if (depth++ > 0) return;
  for (const auto& [begin, block] : blocks)
    if (!block.freed) protect(block, PROT_READ | PROT_WRITE);
}

DeviceWork::~DeviceWork() {
  if (--depth > 0) return;
  for (const auto& [begin, block] : blocks) {
    if (block.freed) continue;
    if (!is_untouched(block.pages, begin) || !is_untouched(begin + block.bytes, block.end)) {
      break_device(cudaErrorIllegalAddress,
                   fmt::format("out of bounds: something wrote beside a block of {} bytes", block.bytes));
      mark_untouched(block.pages, begin);
      mark_untouched(begin + block.bytes, block.end);
    }
    protect(block, PROT_NONE);
  }
}

void set_running_kernel(const std::string* what) { running_kernel = what; }

}  // namespace espalier::emulation
