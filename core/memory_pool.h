// Memory that is taken from a source in large slabs and kept, so that a training step that has run once asks
// the source for nothing. What core/allocator.h (the host) and cuda/allocator.cpp (the card) have in common.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <set>
#include <unordered_map>

namespace espalier {

struct AllocatorStats {
  size_t system_bytes = 0;   ///< held from the system
  int64_t system_calls = 0;  ///< slabs ever taken from it
  size_t used_bytes = 0;     ///< handed out now
  size_t peak_bytes = 0;     ///< the maximum ever handed out
};

/// Where a pool's slabs come from. A pool calls it under its own lock.
class SlabSource {
 public:
  struct Slab {
    char* address = nullptr;
    size_t bytes = 0;
  };

  virtual ~SlabSource() = default;
  /// A slab of at least `bytes`; a null address where there is no more.
  virtual Slab take(size_t bytes) = 0;
  virtual void give_back(const Slab& slab) noexcept = 0;
  /// Told when a part of a slab is in nobody's hands, and when somebody has it: for AddressSanitizer.
  virtual void hide(char* /*address*/, size_t /*bytes*/) noexcept {}
  virtual void show(char* /*address*/, size_t /*bytes*/) noexcept {}
};

/// Best fit among the free blocks; a larger one is split, and free neighbours of one slab are joined.
/// Thread-safe. Never touches the memory itself.
class MemoryPool {
 public:
  /// Blocks lie at multiples of `alignment`, which slabs must fulfil.
  MemoryPool(SlabSource& source, size_t alignment) : source_(source), alignment_(alignment) {}
  ~MemoryPool() {  // the slabs stay the source's
    for (Block* block : free_blocks_) delete block;
    for (const auto& [address, block] : used_blocks_) delete block;
  }
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  /// A block of at least `bytes`, not initialised; null if the source has no more, also after free slabs went
  /// back to it.
  void* allocate(size_t bytes);
  /// Gives a block back; it is joined with free neighbours and kept for the next request. False, and nothing
  /// done, for what is no block of this pool in use.
  bool release(void* block) noexcept;
  /// Gives slabs that are wholly free back to the source.
  void trim() noexcept;

  AllocatorStats stats() const;
  void reset_peak();

 private:
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

  Block* take_slab(size_t size);
  void trim_locked() noexcept;
  static void join_after(Block* block);

  SlabSource& source_;
  size_t alignment_;
  mutable std::mutex mutex_;
  std::set<Block*, BySize> free_blocks_;
  std::unordered_map<void*, Block*> used_blocks_;
  AllocatorStats stats_;
};

}  // namespace espalier
