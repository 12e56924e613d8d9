// What kernels share on the device: vectors of 4 to 16 bytes, and sums and maxima over a warp or a block.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "espalier/core/bf16.h"
#include "espalier/cuda/launch.h"

namespace espalier::cuda {

constexpr int warp = 32;  ///< lanes

/// `width` numbers side by side, moved by one instruction where all of them take 16 bytes or fewer; their
/// address is a multiple of their size.
template <class T, int width>
struct alignas(sizeof(T) * width) Vec {
  T v[width];
  __device__ __forceinline__ T& operator[](int i) { return v[i]; }
  __device__ __forceinline__ const T& operator[](int i) const { return v[i]; }
};
using Vec4 = Vec<float, 4>;

template <int width, class T>
__device__ __forceinline__ Vec<T, width> load(const T* p) {
  return *reinterpret_cast<const Vec<T, width>*>(p);
}
template <class T, int width>
__device__ __forceinline__ void store(T* p, const Vec<T, width>& value) {
  *reinterpret_cast<Vec<T, width>*>(p) = value;
}
// Numbers of bf16 are loaded as floats and rounded when they are stored, so that a kernel that loads and
// stores by these computes in floats, whatever Real is.
template <int width>
__device__ __forceinline__ Vec<float, width> load(const bf16* p) {
  const auto packed = *reinterpret_cast<const Vec<bf16, width>*>(p);
  Vec<float, width> value;
#pragma unroll
  for (int i = 0; i < width; ++i) value[i] = packed[i];
  return value;
}
template <int width>
__device__ __forceinline__ void store(bf16* p, const Vec<float, width>& value) {
  Vec<bf16, width> packed;
#pragma unroll
  for (int i = 0; i < width; ++i) packed[i] = value[i];
  *reinterpret_cast<Vec<bf16, width>*>(p) = packed;
}
/// What a number T in memory is in a register.
template <class T>
using InRegister = std::conditional_t<std::is_same_v<T, bf16>, float, T>;

__device__ __forceinline__ Vec4 load4(const float* p) { return load<4>(p); }
__device__ __forceinline__ void store4(float* p, const Vec4& value) { store(p, value); }

/// Whether all pointers (null: any) stand where `width` numbers of their type may be moved at once.
template <int width, class... T>
__host__ __device__ constexpr bool aligned(const T*... p) {
  return ((reinterpret_cast<uintptr_t>(p) % (sizeof(T) * width) == 0) && ...);
}

// The order of additions is that of the lanes: the same in every run.

/// Over all 32 lanes, each of which gets it.
template <class T>
__device__ __forceinline__ T warp_sum(T v) {
#pragma unroll
  for (int step = warp / 2; step > 0; step /= 2) v += __shfl_xor_sync(~0u, v, step);
  return v;
}
/// A NaN is passed over, as by fmaxf.
__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
  for (int step = warp / 2; step > 0; step /= 2) v = fmaxf(v, __shfl_xor_sync(~0u, v, step));
  return v;
}

/// The place of a thread in its block, x fastest.
__device__ __forceinline__ int thread_in_block() {
  return static_cast<int>(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
}

/// Over a block of `threads` threads, all of which get it; shared [threads / 32] may be used again at once.
template <int threads, class T>
__device__ __forceinline__ T block_sum(T v, T* shared) {
  static_assert(threads % warp == 0 && threads <= 1024);
  constexpr int warps = threads / warp;
  const int thread = thread_in_block(), lane = thread % warp;
  v = warp_sum(v);
  __syncthreads();  // until the last call's readers are done
  if (lane == 0) shared[thread / warp] = v;
  __syncthreads();
  return warp_sum(lane < warps ? shared[lane] : T(0));
}
template <int threads>
__device__ __forceinline__ float block_max(float v, float* shared) {
  static_assert(threads % warp == 0 && threads <= 1024);
  constexpr int warps = threads / warp;
  const int thread = thread_in_block(), lane = thread % warp;
  v = warp_max(v);
  __syncthreads();
  if (lane == 0) shared[thread / warp] = v;
  __syncthreads();
  return warp_max(shared[lane < warps ? lane : 0]);
}

}  // namespace espalier::cuda
