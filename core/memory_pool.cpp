#include "espalier/core/memory_pool.h"

#include <algorithm>

namespace espalier {

MemoryPool::Block* MemoryPool::take_slab(size_t size) {
  SlabSource::Slab slab = source_.take(size);
  if (!slab.address) {
    trim_locked();
    slab = source_.take(size);
  }
  if (!slab.address) return nullptr;
  stats_.system_bytes += slab.bytes;
  stats_.system_calls += 1;
  source_.hide(slab.address, slab.bytes);
  return new Block{slab.address, slab.bytes, slab.bytes, nullptr, nullptr, true};
}

/// Joins `block` with the block after it, which must be free and in no set.
void MemoryPool::join_after(Block* block) {
  Block* gone = block->after;
  block->size += gone->size;
  block->after = gone->after;
  if (gone->after) gone->after->before = block;
  delete gone;
}

void* MemoryPool::allocate(size_t bytes) {
  if (bytes > SIZE_MAX / 2) return nullptr;
  const size_t size = (std::max<size_t>(bytes, 1) + alignment_ - 1) / alignment_ * alignment_;
  std::lock_guard lock(mutex_);
  Block probe{nullptr, size, 0, nullptr, nullptr, true};
  auto found = free_blocks_.lower_bound(&probe);
  Block* block;
  if (found != free_blocks_.end()) {
    block = *found;
    free_blocks_.erase(found);
  } else {
    block = take_slab(size);
    if (!block) return nullptr;
  }
  if (block->size > size) {
    auto* rest =
        new Block{block->address + size, block->size - size, block->slab_size, block, block->after, true};
    if (block->after) block->after->before = rest;
    block->after = rest;
    block->size = size;
    free_blocks_.insert(rest);
  }
  block->free = false;
  used_blocks_.emplace(block->address, block);
  stats_.used_bytes += size;
  stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.used_bytes);
  source_.show(block->address, bytes);
  return block->address;
}

bool MemoryPool::release(void* address) noexcept {
  std::lock_guard lock(mutex_);
  auto found = used_blocks_.find(address);
  if (found == used_blocks_.end()) return false;
  Block* block = found->second;
  used_blocks_.erase(found);
  stats_.used_bytes -= block->size;
  source_.hide(block->address, block->size);
  block->free = true;
  if (block->after && block->after->free) {
    free_blocks_.erase(block->after);
    join_after(block);
  }
  if (block->before && block->before->free) {
    block = block->before;
    free_blocks_.erase(block);
    join_after(block);
  }
  free_blocks_.insert(block);
  return true;
}

AllocatorStats MemoryPool::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

void MemoryPool::reset_peak() {
  std::lock_guard lock(mutex_);
  stats_.peak_bytes = stats_.used_bytes;
}

void MemoryPool::trim() noexcept {
  std::lock_guard lock(mutex_);
  trim_locked();
}

void MemoryPool::trim_locked() noexcept {
  for (auto it = free_blocks_.begin(); it != free_blocks_.end();) {
    Block* block = *it;
    if (block->size != block->slab_size) {
      ++it;
      continue;
    }
    it = free_blocks_.erase(it);
    stats_.system_bytes -= block->size;
    source_.show(block->address, block->size);
    source_.give_back({block->address, block->size});
    delete block;
  }
}

}  // namespace espalier
