// One function of numbers at the same place, for all places: what is elementwise in all files.
//
// Each number is moved once: (sizeof(X) + ...) + sizeof(Y) bytes a place, sizeof(Y) more to accumulate.
#pragma once

#include "espalier/cuda/device.cuh"

namespace espalier::cuda {
namespace detail {

constexpr int map_threads = 256;
/// Loads of each array that a thread has under way: with 2048 threads on a multiprocessor, 2 times 16 bytes
/// fill the memory's latency.
template <int width>
constexpr int map_unroll = width == 1 ? 4 : 2;

/// A vector of each of the arrays.
template <int width, class... X>
struct Loaded {
  __device__ __forceinline__ void load(int64_t) {}
  template <class F, class... Values>
  __device__ __forceinline__ float call(const F& f, int64_t i, int, Values... values) const {
    return f(i, values...);
  }
};
template <int width, class First, class... Rest>
struct Loaded<width, First, Rest...> {
  Vec<InRegister<First>, width> first;
  Loaded<width, Rest...> rest;

  __device__ __forceinline__ void load(int64_t at, const First* p, const Rest*... others) {
    first = cuda::load<width>(p + at);
    rest.load(at, others...);
  }
  /// f(i + j, the numbers at j)
  template <class F, class... Values>
  __device__ __forceinline__ float call(const F& f, int64_t i, int j, Values... values) const {
    return rest.call(f, i, j, values..., first[j]);
  }
};

/// The last n % width places are the first block's.
template <int width, class Y, class F, class... X>
__global__ void __launch_bounds__(map_threads)
    map_kernel(Y* y, F f, int64_t n, bool accumulate, const X*... x) {
  constexpr int unroll = map_unroll<width>;
  const int64_t vectors = n / width;
  const int64_t first = int64_t{blockIdx.x} * (map_threads * unroll) + threadIdx.x;
  Loaded<width, X...> in[unroll];
  Vec<float, width> out[unroll];
#pragma unroll
  for (int u = 0; u < unroll; ++u)
    if (const int64_t v = first + u * map_threads; v < vectors) {
      in[u].load(v * width, x...);
      if (accumulate) out[u] = load<width>(y + v * width);
    }
#pragma unroll
  for (int u = 0; u < unroll; ++u)
    if (const int64_t v = first + u * map_threads; v < vectors) {
#pragma unroll
      for (int j = 0; j < width; ++j) {
        const float value = in[u].call(f, v * width + j, j);
        out[u][j] = accumulate ? out[u][j] + value : value;
      }
      store(y + v * width, out[u]);
    }
  if constexpr (width > 1)
    if (const int64_t i = vectors * width + threadIdx.x; blockIdx.x == 0 && i < n) {
      const float value = f(i, InRegister<X>(x[i])...);
      y[i] = accumulate ? static_cast<float>(y[i]) + value : value;
    }
}

}  // namespace detail

/// y[i] = f(i, x[i]...), or y += that, for i < n; y may be one of x. F is a struct with
/// __device__ float operator()(int64_t i, X...) const, with float for bf16.
template <class Y, class F, class... X>
void map(Y* y, const F& f, int64_t n, bool accumulate, const X*... x) {
  if (n == 0) return;
  const auto run = [&](auto width) {
    constexpr int w = decltype(width)::value;
    const int64_t blocks = blocks_for(blocks_for(n, w), detail::map_threads * detail::map_unroll<w>);
    launch(detail::map_kernel<w, Y, F, X...>,
           {dim3(static_cast<unsigned>(blocks)), dim3(detail::map_threads)},
           std::tuple(y, f, n, accumulate, x...));
  };
  constexpr bool narrow = sizeof(Y) == 2 && ((sizeof(X) <= 2) && ...);
  constexpr int vector = narrow ? 8 : 4;  // 16 bytes of the widest
  if (aligned<vector>(y, x...))
    run(std::integral_constant<int, vector>());
  else
    run(std::integral_constant<int, 1>());
}

}  // namespace espalier::cuda
