#include "espalier/core/allocator.h"

#include <sys/mman.h>

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_map>

#include "espalier/core/error.h"

// A free block is poisoned under AddressSanitizer, so that use after release is found in cached memory, too.
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

namespace espalier::allocator {
namespace {

constexpr size_t alignment = 64;  // a cache line, an AVX-512 vector
constexpr size_t huge_page = size_t{2} << 20;
constexpr size_t least_slab = 4 * huge_page;

struct Block {
  char* address;
  size_t size;
  size_t slab_size;  // of the slab this block is in, to know when the block is all of it
  Block* before;     // neighbours in the same slab
  Block* after;
  bool free;
};

struct BySize {
  bool operator()(const Block* a, const Block* b) const {
    return a->size != b->size ? a->size < b->size : a->address < b->address;
  }
};

struct State {
  std::mutex mutex;
  std::set<Block*, BySize> free_blocks;
  std::unordered_map<void*, Block*> used_blocks;
  AllocatorStats stats;
};

State& state() {
  static State* kept =
      new State;  // never destroyed: tensors with static storage duration may outlive it otherwise
  return *kept;
}

size_t round_up(size_t size, size_t to) { return (size + to - 1) / to * to; }

Block* take_slab(State& s, size_t size) {
  size = std::max(least_slab, round_up(size, huge_page));
  // One huge page more than needed, so that an aligned range lies inside; the rest is handed back.
  char* mapped = static_cast<char*>(
      mmap(nullptr, size + huge_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ESP_CHECK(mapped != MAP_FAILED, "out of memory: the system refused ", size >> 20, " MiB");
  char* aligned = reinterpret_cast<char*>(round_up(reinterpret_cast<uintptr_t>(mapped), huge_page));
  if (aligned != mapped) munmap(mapped, static_cast<size_t>(aligned - mapped));
  munmap(aligned + size, static_cast<size_t>(mapped + huge_page - aligned));
  madvise(aligned, size, MADV_HUGEPAGE);
  s.stats.system_bytes += size;
  s.stats.system_calls += 1;
  ASAN_POISON_MEMORY_REGION(aligned, size);
  return new Block{aligned, size, size, nullptr, nullptr, true};
}

/// Joins `block` with the block behind it, which must be free and in no set.
void join_after(Block* block) {
  Block* gone = block->after;
  block->size += gone->size;
  block->after = gone->after;
  if (gone->after) gone->after->before = block;
  delete gone;
}

}  // namespace

void* allocate(size_t bytes) {
  State& s = state();
  ESP_CHECK(bytes <= SIZE_MAX / 2, "out of memory: ", bytes, " bytes were asked for");
  const size_t size = round_up(std::max<size_t>(bytes, 1), alignment);
  std::lock_guard lock(s.mutex);
  Block probe{nullptr, size, 0, nullptr, nullptr, true};
  auto found = s.free_blocks.lower_bound(&probe);
  Block* block;
  if (found != s.free_blocks.end()) {
    block = *found;
    s.free_blocks.erase(found);
  } else {
    block = take_slab(s, size);
  }
  if (block->size > size) {
    auto* rest =
        new Block{block->address + size, block->size - size, block->slab_size, block, block->after, true};
    if (block->after) block->after->before = rest;
    block->after = rest;
    block->size = size;
    s.free_blocks.insert(rest);
  }
  block->free = false;
  s.used_blocks.emplace(block->address, block);
  s.stats.used_bytes += size;
  s.stats.peak_bytes = std::max(s.stats.peak_bytes, s.stats.used_bytes);
  ASAN_UNPOISON_MEMORY_REGION(block->address, bytes);
  return block->address;
}

void release(void* address) noexcept {
  State& s = state();
  std::lock_guard lock(s.mutex);
  auto found = s.used_blocks.find(address);
  if (found == s.used_blocks.end()) return;
  Block* block = found->second;
  s.used_blocks.erase(found);
  s.stats.used_bytes -= block->size;
  ASAN_POISON_MEMORY_REGION(block->address, block->size);
  block->free = true;
  if (block->after && block->after->free) {
    s.free_blocks.erase(block->after);
    join_after(block);
  }
  if (block->before && block->before->free) {
    block = block->before;
    s.free_blocks.erase(block);
    join_after(block);
  }
  s.free_blocks.insert(block);
}

AllocatorStats stats() {
  State& s = state();
  std::lock_guard lock(s.mutex);
  return s.stats;
}

void trim() {
  State& s = state();
  std::lock_guard lock(s.mutex);
  for (auto it = s.free_blocks.begin(); it != s.free_blocks.end();) {
    Block* block = *it;
    if (block->size != block->slab_size) {
      ++it;
      continue;
    }
    it = s.free_blocks.erase(it);
    s.stats.system_bytes -= block->size;
    ASAN_UNPOISON_MEMORY_REGION(block->address, block->size);
    munmap(block->address, block->size);
    delete block;
  }
}

}  // namespace espalier::allocator
