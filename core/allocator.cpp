#include "espalier/core/allocator.h"

#include <sys/mman.h>

#include <algorithm>

#include "espalier/util/error.h"

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

size_t round_up(size_t size, size_t to) { return (size + to - 1) / to * to; }
size_t slab_size(size_t bytes) { return std::max(least_slab, round_up(bytes, huge_page)); }

class System : public SlabSource {
 public:
  Slab take(size_t bytes) override {
    const size_t size = slab_size(bytes);
    // One huge page more than needed, so that an aligned range lies inside; the rest is handed back.
    void* const got =
        mmap(nullptr, size + huge_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (got == MAP_FAILED) return {};
    char* const mapped = static_cast<char*>(got);
    char* const aligned = reinterpret_cast<char*>(round_up(reinterpret_cast<uintptr_t>(mapped), huge_page));
    if (aligned != mapped) munmap(mapped, static_cast<size_t>(aligned - mapped));
    munmap(aligned + size, static_cast<size_t>(mapped + huge_page - aligned));
    madvise(aligned, size, MADV_HUGEPAGE);
    return {aligned, size};
  }
  void give_back(const Slab& slab) noexcept override { munmap(slab.address, slab.bytes); }
  void hide(char* address, size_t bytes) noexcept override { ASAN_POISON_MEMORY_REGION(address, bytes); }
  void show(char* address, size_t bytes) noexcept override { ASAN_UNPOISON_MEMORY_REGION(address, bytes); }
};

MemoryPool& pool() {
  // Never destroyed: tensors with static storage duration may outlive it otherwise.
  static MemoryPool* const kept = new MemoryPool(*new System, alignment);
  return *kept;
}

}  // namespace

void* allocate(size_t bytes) {
  ESP_CHECK(bytes <= SIZE_MAX / 2, "out of memory: ", bytes, " bytes were asked for");
  void* const block = pool().allocate(bytes);
  ESP_CHECK(block, "out of memory: the system refused ", slab_size(bytes) >> 20, " MiB");
  return block;
}

void release(void* block) noexcept { pool().release(block); }

AllocatorStats stats() { return pool().stats(); }
void trim() { pool().trim(); }

}  // namespace espalier::allocator
