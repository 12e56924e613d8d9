// One block of a kernel's grid, run to its end on one thread of the system. Its CUDA threads run one after
// the other; one that waits at a barrier or in a warp leaves its fiber to the others. Threads that never wait
// run back to back on one fiber: a loop.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <functional>
#include <source_location>
#include <string>

namespace espalier::emulation {

using Site = std::source_location;

/// The order in which threads of a block are begun. A kernel that lacks a barrier gives other results in
/// another order.
enum class Order : uint8_t { ascending, descending, shuffled };

struct BlockOfGrid {
  dim3 grid, block;
  uint3 index;                        ///< of the block
  const std::function<void()>* body;  ///< what each thread does
  void* dynamic_shared;
  Order order;
};

/// "" or what went wrong: a barrier or warp operation that not all take part in.
std::string run_block(const BlockOfGrid& what);

/// Whether the calling thread of the system runs a kernel; for messages, where in the block.
bool in_kernel();
std::string kernel_position();

// --- what threads of the block call (device.h)
void* dynamic_shared();
void barrier(const Site& site);
/// As barrier(); the sum of `value` over the block.
int barrier_sum(int value, const Site& site);
int lane();

enum class WarpOperation : uint8_t { wait, ballot, shuffle };
/// Waits for all lanes of `mask`; then ballot: the bits `value & 1` of all, shuffle: source's value.
uint64_t warp(WarpOperation operation, unsigned mask, uint64_t value, int source, const Site& site);

}  // namespace espalier::emulation
