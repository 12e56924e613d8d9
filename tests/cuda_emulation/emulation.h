// What a test asks of the emulator, and how it sets it up.
#pragma once

#include <cstdint>

#include "espalier/cuda_emulation/block.h"

namespace espalier::emulation {

/// What the host has asked for since the process began.
struct Counters {
  int64_t launches = 0;          ///< kernels, outside of a captured graph
  int64_t library_calls = 0;     ///< products and convolutions, outside of a captured graph
  int64_t graph_launches = 0;    ///< captured graphs
  int64_t graph_nodes = 0;       ///< what those held, in all
  int64_t synchronisations = 0;  ///< times the host waited
  int64_t allocations = 0, frees = 0;
  int64_t uploads = 0, downloads = 0;  ///< copies from and to the host
  friend Counters operator-(Counters a, const Counters& b) {
    a.launches -= b.launches;
    a.library_calls -= b.library_calls;
    a.graph_launches -= b.graph_launches;
    a.graph_nodes -= b.graph_nodes;
    a.synchronisations -= b.synchronisations;
    a.allocations -= b.allocations;
    a.frees -= b.frees;
    a.uploads -= b.uploads;
    a.downloads -= b.downloads;
    return a;
  }
};
/// The counters themselves; under the lock of lock.h.
Counters& counters();

/// In which order threads of a block begin: ascending, or what ESPALIER_EMULATION_ORDER (ascending,
/// descending, shuffled) says.
void set_order(Order order);
Order order();

/// Forgets errors and work that waits.
void reset();

}  // namespace espalier::emulation
