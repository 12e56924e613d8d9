// Atomic operations on integers, by CUDA's names: blocks run on several threads of the system. None on
// floating-point numbers: a .cu file here may not add those in an order that changes.
#pragma once

#include <concepts>

template <std::integral T, std::convertible_to<T> V>
T atomicAdd(T* address, V value) {
  return __atomic_fetch_add(address, static_cast<T>(value), __ATOMIC_RELAXED);
}
template <std::integral T, std::convertible_to<T> V>
T atomicSub(T* address, V value) {
  return __atomic_fetch_sub(address, static_cast<T>(value), __ATOMIC_RELAXED);
}
template <std::integral T, std::convertible_to<T> V>
T atomicAnd(T* address, V value) {
  return __atomic_fetch_and(address, static_cast<T>(value), __ATOMIC_RELAXED);
}
template <std::integral T, std::convertible_to<T> V>
T atomicOr(T* address, V value) {
  return __atomic_fetch_or(address, static_cast<T>(value), __ATOMIC_RELAXED);
}
template <std::integral T, std::convertible_to<T> V>
T atomicXor(T* address, V value) {
  return __atomic_fetch_xor(address, static_cast<T>(value), __ATOMIC_RELAXED);
}
template <std::integral T, std::convertible_to<T> V>
T atomicExch(T* address, V value) {
  return __atomic_exchange_n(address, static_cast<T>(value), __ATOMIC_RELAXED);
}
template <std::integral T, std::convertible_to<T> C, std::convertible_to<T> V>
T atomicCAS(T* address, C expected, V value) {
  T found = static_cast<T>(expected);
  __atomic_compare_exchange_n(address, &found, static_cast<T>(value), false, __ATOMIC_RELAXED,
                              __ATOMIC_RELAXED);
  return found;
}
template <std::integral T, std::convertible_to<T> V>
T atomicMin(T* address, V value) {
  T found = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (static_cast<T>(value) < found &&
         !__atomic_compare_exchange_n(address, &found, static_cast<T>(value), false, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED)) {
  }
  return found;
}
template <std::integral T, std::convertible_to<T> V>
T atomicMax(T* address, V value) {
  T found = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (found < static_cast<T>(value) &&
         !__atomic_compare_exchange_n(address, &found, static_cast<T>(value), false, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED)) {
  }
  return found;
}
/// found >= max_value: 0; else one more
inline unsigned atomicInc(unsigned* address, unsigned max_value) {
  unsigned found = __atomic_load_n(address, __ATOMIC_SEQ_CST);
  while (!__atomic_compare_exchange_n(address, &found, found >= max_value ? 0 : found + 1, false,
                                      __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
  }
  return found;
}

#if defined(__SANITIZE_THREAD__)
// It knows no fences; the counts of atomicInc, in sequence, order for it what blocks leave each other.
inline void __threadfence() {}
inline void __threadfence_block() {}
#else
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
#endif
