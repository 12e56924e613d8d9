// Copies between places that strides say: each number is read once and written once.
#include <bit>

#include "espalier/core/kernels.h"
#include "espalier/cuda/device.cuh"

namespace espalier::cuda {
namespace {

constexpr int last = StridedShape::axes - 1;

/// Threads stand in rows, blockDim.x on a row's vectors along the last axis. Of vectors, steps there are 1.
template <int width, class Real>
__global__ void __launch_bounds__(256)
    copy_strided_kernel(Real* y, const Real* x, StridedShape s, int64_t rows, bool accumulate) {
  for (int64_t row = int64_t{blockIdx.x} * blockDim.y + threadIdx.y; row < rows;
       row += int64_t{gridDim.x} * blockDim.y) {
    int64_t rest = row, y_row = 0, x_row = 0;
#pragma unroll
    for (int axis = last - 1; axis >= 0; --axis) {
      const int64_t next = rest / s.sizes[axis], i = rest - next * s.sizes[axis];
      rest = next;
      y_row += i * s.y[axis];
      x_row += i * s.x[axis];
    }
    for (int64_t v = int64_t{blockIdx.y} * blockDim.x + threadIdx.x; v * width < s.sizes[last];
         v += int64_t{gridDim.y} * blockDim.x) {
      Real* const to = y + y_row + (width > 1 ? v * width : v * s.y[last]);
      auto value = load<width>(x + x_row + (width > 1 ? v * width : v * s.x[last]));
      if (accumulate) {
        const auto old = load<width>(to);
#pragma unroll
        for (int j = 0; j < width; ++j) value[j] += old[j];
      }
      store(to, value);
    }
  }
}

/// Whether rows along the last axis are whole vectors in both tensors.
bool has_vectors(const StridedShape& s, int vector) {
  if (s.y[last] != 1 || s.x[last] != 1 || s.sizes[last] % vector != 0) return false;
  for (int axis = 0; axis < last; ++axis)
    if (s.sizes[axis] > 1 && (s.y[axis] % vector != 0 || s.x[axis] % vector != 0)) return false;
  return true;
}

template <class Real>
void copy_strided_of(Real* y, const Real* x, const StridedShape& s, bool accumulate) {
  if (s.elements() == 0) return;
  constexpr int vector = 16 / sizeof(Real);
  const bool vectors = has_vectors(s, vector) && aligned<vector>(y, x);
  const int64_t rows = s.elements() / s.sizes[last],
                across = vectors ? s.sizes[last] / vector : s.sizes[last];
  const auto wide =
      static_cast<unsigned>(std::bit_ceil(static_cast<uint64_t>(std::min<int64_t>(across, 256))));
  const dim3 block(wide, 256 / wide);
  const Launch rows_of_blocks = striding(rows, static_cast<int>(block.y));
  const auto tiles = static_cast<unsigned>(std::min<int64_t>(blocks_for(across, wide), 65535));
  launch(vectors ? copy_strided_kernel<vector, Real> : copy_strided_kernel<1, Real>,
         {dim3(rows_of_blocks.grid.x, tiles), block}, std::tuple(y, x, s, rows, accumulate));
}

}  // namespace

void copy_strided(float* y, const float* x, const StridedShape& s, bool accumulate) {
  copy_strided_of(y, x, s, accumulate);
}
void copy_strided(bf16* y, const bf16* x, const StridedShape& s, bool accumulate) {
  copy_strided_of(y, x, s, accumulate);
}

}  // namespace espalier::cuda
