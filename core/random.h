// Random numbers by counter: number i of stream `key` is a pure function of (key, i). There is no generator
// to save, to share between threads or to advance: a run's random state is its seed and its position. scripts
// and tests compute the same numbers elsewhere (bench/formula.py).
//
// The mixing function is SplitMix64's finaliser (Steele, Lea and Flood, OOPSLA 2014).
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <numeric>
#include <utility>
#include <vector>

namespace espalier {

constexpr uint64_t mix64(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

/// Number `counter` of stream `key`: 64 random bits.
constexpr uint64_t random_bits(uint64_t key, uint64_t counter) {
  return mix64(mix64(key + 0x9E3779B97F4A7C15u) + (counter + 1) * 0x9E3779B97F4A7C15u);
}

/// A stream of its own for each (seed, purpose): key for random_bits.
constexpr uint64_t random_key(uint64_t seed, uint64_t purpose) {
  return random_bits(seed, purpose ^ 0xD1B54A32D192ED03u);
}

/// Uniform on [0, 1), in steps of 2^-24: exact in f32.
constexpr float random_uniform(uint64_t key, uint64_t counter) {
  return static_cast<float>(random_bits(key, counter) >> 40) * 0x1p-24f;
}

/// Uniform on 0 .. n-1 (the high half of bits x n: the bias is under n / 2^32).
constexpr int64_t random_below(uint64_t key, uint64_t counter, int64_t n) {
  return static_cast<int64_t>(((random_bits(key, counter) >> 32) * static_cast<uint64_t>(n)) >> 32);
}

/// Of mean 0 and deviation 1, from u and v uniform on [0, 1) (Box and Muller 1958).
inline double box_muller(double u, double v) {
  return std::sqrt(-2 * std::log(1 - u)) * std::cos(2 * std::numbers::pi * v);
}

/// A permutation of 0 .. n-1 (Fisher-Yates), the same for the same key everywhere.
inline std::vector<int64_t> random_permutation(uint64_t key, int64_t n) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (int64_t i = n - 1; i > 0; --i)
    std::swap(order[i], order[random_below(key, static_cast<uint64_t>(i), i + 1)]);
  return order;
}

}  // namespace espalier
