// Memory and elementwise kernels: memory speed.
#include <bit>

#include "espalier/core/kernels.h"
#include "espalier/cuda/map.cuh"

namespace espalier::cuda {
namespace {

struct Constant {
  float value;
  __device__ float operator()(int64_t) const { return value; }
};
struct Same {
  __device__ float operator()(int64_t, float x) const { return x; }
};
struct Sum {
  __device__ float operator()(int64_t, float a, float b) const { return a + b; }
};
struct Product {
  __device__ float operator()(int64_t, float a, float b) const { return a * b; }
};
struct Times {
  float factor;
  __device__ float operator()(int64_t, float x) const { return x * factor; }
};
struct Clip {
  float low, high;
  /// Not fminf and fmaxf: of a NaN and a number they take the number.
  __device__ float operator()(int64_t, float x) const { return x < low ? low : x > high ? high : x; }
};
struct ClipGradient {
  float low, high;
  __device__ float operator()(int64_t, float dy, float x) const { return x >= low && x <= high ? dy : 0.0f; }
};
/// The factor lies in device memory: every thread reads the same 4 bytes.
struct TimesThat {
  const float* factor;
  __device__ float operator()(int64_t, float x) const { return x * *factor; }
};
struct ThatTimes {
  const float* scalar;
  float times;
  __device__ float operator()(int64_t) const { return *scalar * times; }
};

/// The same numbers as on the CPU (core/cpu/elementwise.cpp): 32 well-mixed bits for each counter of a 64-bit
/// key.
struct Dropout {
  uint32_t low, high;  // the key's halves
  int32_t threshold;   // of 24 bits
  float scaled;

  static __device__ uint32_t round(uint32_t h, uint32_t half) {
    h ^= half;
    h = (h ^ (h >> 16)) * 0x7FEB352Du;
    h = (h ^ (h >> 15)) * 0x846CA68Bu;
    return h ^ (h >> 16);
  }
  __device__ float operator()(int64_t i, float x) const {
    const uint32_t bits = round(round(static_cast<uint32_t>(i), low), high);
    return static_cast<int32_t>(bits >> 8) < threshold ? 0.0f : x * scaled;
  }
};

/// Threads stand in rows, blockDim.x on a row's vectors, so that a place needs no division.
template <int width, class Real>
__global__ void __launch_bounds__(256)
    copy_columns_kernel(Real* y, int64_t y_width, const Real* x, int64_t x_width, int64_t columns,
                        int64_t rows, bool accumulate) {
  for (int64_t row = int64_t{blockIdx.x} * blockDim.y + threadIdx.y; row < rows;
       row += int64_t{gridDim.x} * blockDim.y)
    for (int64_t v = int64_t{blockIdx.y} * blockDim.x + threadIdx.x; v * width < columns;
         v += int64_t{gridDim.y} * blockDim.x) {
      Real* const to = y + row * y_width + v * width;
      auto value = load<width>(x + row * x_width + v * width);
      if (accumulate) {
        const auto old = load<width>(to);
#pragma unroll
        for (int j = 0; j < width; ++j) value[j] += old[j];
      }
      store(to, value);
    }
}

/// 2 numbers moved a number, 3 to accumulate.
template <class Real>
void copy_columns_of(Real* y, int64_t y_width, const Real* x, int64_t x_width, int64_t columns, int64_t rows,
                     bool accumulate) {
  if (rows == 0 || columns == 0) return;
  constexpr int vector = 16 / sizeof(Real);
  const bool vectors =
      columns % vector == 0 && y_width % vector == 0 && x_width % vector == 0 && aligned<vector>(y, x);
  const int64_t across = vectors ? columns / vector : columns;
  const auto wide =
      static_cast<unsigned>(std::bit_ceil(static_cast<uint64_t>(std::min<int64_t>(across, 256))));
  const dim3 block(wide, 256 / wide);
  const Launch rows_of_blocks = striding(rows, static_cast<int>(block.y));
  const auto tiles = static_cast<unsigned>(std::min<int64_t>(blocks_for(across, wide), 65535));
  launch(vectors ? copy_columns_kernel<vector, Real> : copy_columns_kernel<1, Real>,
         {dim3(rows_of_blocks.grid.x, tiles), block},
         std::tuple(y, y_width, x, x_width, columns, rows, accumulate));
}

Dropout dropping(float p, uint64_t key) {
  return {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32), static_cast<int32_t>(p * 0x1p24f),
          1.0f / (1.0f - p)};
}

}  // namespace

void set_bytes(void* y, int value, size_t bytes) {
  if (bytes > 0) ESP_CUDA(cudaMemsetAsync(y, value, bytes, stream()));
}
void copy_bytes(void* y, const void* x, size_t bytes) {
  if (bytes > 0) ESP_CUDA(cudaMemcpyAsync(y, x, bytes, cudaMemcpyDeviceToDevice, stream()));
}
void cast(bf16* y, const float* x, int64_t n) { map(y, Same(), n, false, x); }
void cast(float* y, const bf16* x, int64_t n, bool accumulate) { map(y, Same(), n, accumulate, x); }

void fill(float* y, float value, int64_t n) { map(y, Constant{value}, n, false); }
void add(float* y, const float* a, const float* b, int64_t n) { map(y, Sum(), n, false, a, b); }
void mul(float* y, const float* a, const float* b, int64_t n, bool accumulate) {
  map(y, Product(), n, accumulate, a, b);
}
void scale(float* y, const float* x, float factor, int64_t n, bool accumulate) {
  map(y, Times{factor}, n, accumulate, x);
}
void scale_by(float* y, const float* x, const float* factor, int64_t n, bool accumulate) {
  map(y, TimesThat{factor}, n, accumulate, x);
}
void broadcast(float* y, const float* scalar, float times, int64_t n, bool accumulate) {
  map(y, ThatTimes{scalar, times}, n, accumulate);
}
void dropout(float* y, const float* x, float p, uint64_t key, int64_t n, bool accumulate) {
  map(y, dropping(p, key), n, accumulate, x);
}
void clip_forward(float* y, const float* x, float low, float high, int64_t n) {
  map(y, Clip{low, high}, n, false, x);
}
void clip_backward(float* dx, const float* dy, const float* x, float low, float high, int64_t n,
                   bool accumulate) {
  map(dx, ClipGradient{low, high}, n, accumulate, dy, x);
}
void copy_columns(float* y, int64_t y_width, const float* x, int64_t x_width, int64_t columns, int64_t rows,
                  bool accumulate) {
  copy_columns_of(y, y_width, x, x_width, columns, rows, accumulate);
}

void fill(bf16* y, float value, int64_t n) { map(y, Constant{value}, n, false); }
void add(bf16* y, const bf16* a, const bf16* b, int64_t n) { map(y, Sum(), n, false, a, b); }
void mul(bf16* y, const bf16* a, const bf16* b, int64_t n, bool accumulate) {
  map(y, Product(), n, accumulate, a, b);
}
void scale(bf16* y, const bf16* x, float factor, int64_t n, bool accumulate) {
  map(y, Times{factor}, n, accumulate, x);
}
void scale_by(bf16* y, const bf16* x, const float* factor, int64_t n, bool accumulate) {
  map(y, TimesThat{factor}, n, accumulate, x);
}
void broadcast(bf16* y, const float* scalar, float times, int64_t n, bool accumulate) {
  map(y, ThatTimes{scalar, times}, n, accumulate);
}
void dropout(bf16* y, const bf16* x, float p, uint64_t key, int64_t n, bool accumulate) {
  map(y, dropping(p, key), n, accumulate, x);
}
void clip_forward(bf16* y, const bf16* x, float low, float high, int64_t n) {
  map(y, Clip{low, high}, n, false, x);
}
void clip_backward(bf16* dx, const bf16* dy, const bf16* x, float low, float high, int64_t n,
                   bool accumulate) {
  map(dx, ClipGradient{low, high}, n, accumulate, dy, x);
}
void copy_columns(bf16* y, int64_t y_width, const bf16* x, int64_t x_width, int64_t columns, int64_t rows,
                  bool accumulate) {
  copy_columns_of(y, y_width, x, x_width, columns, rows, accumulate);
}

}  // namespace espalier::cuda
