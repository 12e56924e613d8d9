// Barriers, votes and shuffles by the names that CUDA has for them. Each passes on where it was called, so
// that threads that wait at different places are told apart.
#pragma once

#include "espalier/cuda_emulation/bits.h"
#include "espalier/cuda_emulation/block.h"

#define ESP_SITE const espalier::emulation::Site& site = espalier::emulation::Site::current()

inline void __syncthreads(ESP_SITE) { espalier::emulation::barrier(site); }
inline int __syncthreads_count(int predicate, ESP_SITE) {
  return espalier::emulation::barrier_sum(predicate != 0, site);
}
inline int __syncthreads_or(int predicate, ESP_SITE) {
  return espalier::emulation::barrier_sum(predicate != 0, site) != 0;
}
inline int __syncthreads_and(int predicate, ESP_SITE) {
  return espalier::emulation::barrier_sum(predicate == 0, site) == 0;
}

inline void __syncwarp(unsigned mask = ~0U, ESP_SITE) {
  espalier::emulation::warp(espalier::emulation::WarpOperation::wait, mask, 0, 0, site);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, ESP_SITE) {
  return static_cast<unsigned>(
      espalier::emulation::warp(espalier::emulation::WarpOperation::ballot, mask, predicate != 0, 0, site));
}
inline int __any_sync(unsigned mask, int predicate, ESP_SITE) {
  return __ballot_sync(mask, predicate, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate, ESP_SITE) {
  return __ballot_sync(mask, predicate == 0, site) == 0;
}

namespace espalier::emulation {
template <class T>
T shuffle(unsigned mask, T value, int source, const Site& site) {
  return from_bits<T>(warp(WarpOperation::shuffle, mask, to_bits(value), source, site));
}
}  // namespace espalier::emulation

// A warp is cut into segments of `width` lanes; who would read beyond its own keeps its value.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, ESP_SITE) {
  const int segment = espalier::emulation::lane() & ~(width - 1);
  return espalier::emulation::shuffle(mask, value, segment | (source & (width - 1)), site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, ESP_SITE) {
  const int lane = espalier::emulation::lane(), other = lane ^ lane_mask;
  const bool beyond = (other & ~(width - 1)) > (lane & ~(width - 1));
  return espalier::emulation::shuffle(mask, value, beyond ? lane : other, site);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, ESP_SITE) {
  const int lane = espalier::emulation::lane(), within = lane & (width - 1), by = static_cast<int>(delta);
  return espalier::emulation::shuffle(mask, value, within + by < width ? lane + by : lane, site);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, ESP_SITE) {
  const int lane = espalier::emulation::lane(), within = lane & (width - 1), by = static_cast<int>(delta);
  return espalier::emulation::shuffle(mask, value, within >= by ? lane - by : lane, site);
}

namespace espalier::emulation {
template <class Combine>
auto reduce_warp(unsigned mask, auto value, const Site& site, Combine combine) {
  auto result = value;
  for (int step = 1; step < 32; step *= 2) {
    const int other = lane() ^ step;
    const auto theirs = shuffle(mask, result, (mask >> other & 1) != 0 ? other : lane(), site);
    result = combine(result, theirs);
  }
  return result;
}
}  // namespace espalier::emulation

// With all lanes in the mask, as a .cu file here has it.
inline unsigned __reduce_add_sync(unsigned mask, unsigned value, ESP_SITE) {
  return espalier::emulation::reduce_warp(mask, value, site, [](unsigned a, unsigned b) { return a + b; });
}
inline int __reduce_add_sync(unsigned mask, int value, ESP_SITE) {
  return espalier::emulation::reduce_warp(mask, value, site, [](int a, int b) { return a + b; });
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned value, ESP_SITE) {
  return espalier::emulation::reduce_warp(mask, value, site,
                                          [](unsigned a, unsigned b) { return a > b ? a : b; });
}
inline int __reduce_max_sync(unsigned mask, int value, ESP_SITE) {
  return espalier::emulation::reduce_warp(mask, value, site, [](int a, int b) { return a > b ? a : b; });
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned value, ESP_SITE) {
  return espalier::emulation::reduce_warp(mask, value, site,
                                          [](unsigned a, unsigned b) { return a < b ? a : b; });
}
inline int __reduce_min_sync(unsigned mask, int value, ESP_SITE) {
  return espalier::emulation::reduce_warp(mask, value, site, [](int a, int b) { return a < b ? a : b; });
}

#undef ESP_SITE
