// The one way by which kernels are launched, on the GPU and, under emulation, on the CPU.
//
// Rules of a .cu file, so that both builds can run it: launch only through launch(); dynamic shared memory
// only by ESP_DYNAMIC_SHARED; no return before a barrier; blocks of a multiple of 32 threads; only
// *_sync intrinsics, with all 32 lanes taking part; __syncwarp() between writing and reading shared memory
// within a warp; pointers as arguments of their own or in a struct that is passed by value; no cooperative
// groups, cub, thrust or PTX; no floating-point atomics: the same input gives the same bits.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <source_location>
#include <tuple>

#include "espalier/cuda/runtime.h"

namespace espalier::cuda {

struct Launch {
  dim3 grid, block;
  size_t shared = 0;  ///< bytes of dynamic shared memory

  /// Of an empty batch: a launch that CUDA refuses.
  bool is_empty() const { return grid.x == 0 || grid.y == 0 || grid.z == 0; }
};

constexpr int64_t blocks_for(int64_t n, int64_t per_block) { return (n + per_block - 1) / per_block; }

/// A grid for a loop over n items that strides by the grid's width, `threads` in a block: enough blocks for
/// all, at most 16 a multiprocessor.
inline Launch striding(int64_t n, int threads = 256) {
  const int64_t max_blocks = int64_t{16} * multiprocessors();
  return {dim3(static_cast<unsigned>(std::clamp<int64_t>(blocks_for(n, threads), 1, max_blocks))),
          dim3(static_cast<unsigned>(threads))};
}

#if defined(ESPALIER_CUDA_EMULATED)
}  // namespace espalier::cuda
#include "espalier/cuda_emulation/launch.h"  // launch() and ESP_DYNAMIC_SHARED
namespace espalier::cuda {
#elif defined(__CUDACC__)
/// float* row of dynamic shared memory: ESP_DYNAMIC_SHARED(float, row);
#define ESP_DYNAMIC_SHARED(T, name)                                    \
  extern __shared__ __align__(16) unsigned char esp_dynamic_shared_[]; \
  T* const name = reinterpret_cast<T*>(esp_dynamic_shared_)

template <class... P, class... A>
void launch(void (*kernel)(P...), const Launch& how, std::tuple<A...> arguments,
            const std::source_location& where = std::source_location::current()) {
  static_assert(sizeof...(P) == sizeof...(A));
  if (how.is_empty()) return;
  // >>> would be taken apart:
  // clang-format off
  std::apply(
      [&](auto&... a) { kernel<<<how.grid, how.block, how.shared, stream()>>>(static_cast<P>(a)...); },
      arguments);
  // clang-format on
  check(cudaGetLastError(), "kernel launch", where);
}
#endif

}  // namespace espalier::cuda
