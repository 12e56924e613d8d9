// The caching allocator of the host: memory is taken from the system in large slabs and kept, so that a
// training step that has run once allocates nothing from the system. Page faults cost PyTorch up to a third
// of its time on the CPU.
#pragma once

#include <cstddef>

#include "espalier/core/memory_pool.h"

namespace espalier::allocator {

/// A block of at least `bytes` bytes, 64-byte aligned, not initialised. Best fit among the free blocks; a
/// larger one is split. Thread-safe. Throws espalier::Error when the system has no more.
void* allocate(size_t bytes);
/// Gives a block back; it is joined with free neighbours and kept for the next request.
void release(void* block) noexcept;

AllocatorStats stats();
/// Gives slabs that are wholly free back to the system.
void trim();

}  // namespace espalier::allocator
