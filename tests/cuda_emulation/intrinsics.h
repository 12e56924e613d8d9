// Arithmetic and memory intrinsics by CUDA's names. The fast ones are exact here.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "espalier/cuda_emulation/bits.h"

// --- loads and stores with a hint
#define ESP_LOAD(name)              \
  template <class T>                \
  inline T name(const T* address) { \
    return *address;                \
  }
#define ESP_STORE(name)                   \
  template <class T>                      \
  inline void name(T* address, T value) { \
    *address = value;                     \
  }
ESP_LOAD(__ldg)
ESP_LOAD(__ldca)
ESP_LOAD(__ldcg)
ESP_LOAD(__ldcs)
ESP_LOAD(__ldcv)
ESP_LOAD(__ldlu)
ESP_STORE(__stcg)
ESP_STORE(__stcs)
ESP_STORE(__stwb)
ESP_STORE(__stwt)
#undef ESP_LOAD
#undef ESP_STORE

// --- the smaller and the larger, of any two numbers
template <class A, class B>
requires std::is_arithmetic_v<A> && std::is_arithmetic_v<B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  using C = std::common_type_t<A, B>;
  return static_cast<C>(b) < static_cast<C>(a) ? static_cast<C>(b) : static_cast<C>(a);
}
template <class A, class B>
requires std::is_arithmetic_v<A> && std::is_arithmetic_v<B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  using C = std::common_type_t<A, B>;
  return static_cast<C>(a) < static_cast<C>(b) ? static_cast<C>(b) : static_cast<C>(a);
}

// --- f32 and f64; _rn: rounded once, never fused
inline float rsqrtf(float x) { return 1.0F / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float normcdff(float x) { return 0.5F * std::erfc(-x * 0.70710678118654752F); }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __powf(float x, float y) { return std::pow(x, y); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.0F) : 0.0F; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __frcp_rn(float x) { return 1.0F / x; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __frsqrt_rn(float x) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(x))); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline double __dsqrt_rn(double x) { return std::sqrt(x); }

// --- conversions
inline int __float2int_rn(float x) { return static_cast<int>(std::nearbyint(x)); }
inline int __float2int_rz(float x) { return static_cast<int>(x); }
inline int __float2int_rd(float x) { return static_cast<int>(std::floor(x)); }
inline int __float2int_ru(float x) { return static_cast<int>(std::ceil(x)); }
inline unsigned __float2uint_rn(float x) { return static_cast<unsigned>(std::nearbyint(x)); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
inline float __ull2float_rn(unsigned long long x) { return static_cast<float>(x); }
inline double __ull2double_rn(unsigned long long x) { return static_cast<double>(x); }
inline float __double2float_rn(double x) { return static_cast<float>(x); }
inline int __float_as_int(float x) {
  return espalier::emulation::from_bits<int>(espalier::emulation::to_bits(x));
}
inline unsigned __float_as_uint(float x) {
  return espalier::emulation::from_bits<unsigned>(espalier::emulation::to_bits(x));
}
inline float __int_as_float(int x) {
  return espalier::emulation::from_bits<float>(espalier::emulation::to_bits(x));
}
inline float __uint_as_float(unsigned x) {
  return espalier::emulation::from_bits<float>(espalier::emulation::to_bits(x));
}
inline long long __double_as_longlong(double x) {
  return espalier::emulation::from_bits<long long>(espalier::emulation::to_bits(x));
}
inline double __longlong_as_double(long long x) {
  return espalier::emulation::from_bits<double>(espalier::emulation::to_bits(x));
}

// --- bits of integers
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x)); }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<unsigned long long>(static_cast<Wide>(a) * b >> 64);
}

[[noreturn]] inline void __trap() { __builtin_trap(); }
