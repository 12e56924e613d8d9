// What cutting channels moves: every kept byte is read once and written once.
#include "espalier/core/kernels.h"
#include "espalier/cuda/device.cuh"

namespace espalier::cuda {
namespace {

/// n numbers T of y, `inner` of them after an index.
template <class T, class Index>
__global__ void take_kernel(T* y, const T* x, const int64_t* kept, Index axis, Index count, Index inner,
                            Index n) {
  for (Index i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
    const Index at = i % inner, line = i / inner, row = line / count;
    const int64_t from = static_cast<int64_t>(row) * axis + kept[line % count];
    y[i] = x[from * inner + at];
  }
}

template <class T>
void take_by(void* y, const void* x, const int64_t* kept, const TakeShape& s) {
  const int64_t inner = s.inner / static_cast<int64_t>(sizeof(T)), n = s.outer * s.count * inner;
  if (n == 0) return;
  const std::tuple arguments(static_cast<T*>(y), static_cast<const T*>(x), kept, s.axis, s.count, inner, n);
  if (n < int64_t{1} << 31)
    launch(take_kernel<T, uint32_t>, striding(n), arguments);
  else
    launch(take_kernel<T, uint64_t>, striding(n), arguments);
}

}  // namespace

void take(void* y, const void* x, const int64_t* kept, const TakeShape& s) {
  using Sixteen = Vec<uint32_t, 4>;
  const auto divides = [&](int64_t bytes) {
    return s.inner % bytes == 0 && (reinterpret_cast<uintptr_t>(y) | reinterpret_cast<uintptr_t>(x)) %
                                           static_cast<uintptr_t>(bytes) ==
                                       0;
  };
  if (divides(16))
    take_by<Sixteen>(y, x, kept, s);
  else if (divides(4))
    take_by<uint32_t>(y, x, kept, s);
  else
    take_by<uint8_t>(y, x, kept, s);
}

}  // namespace espalier::cuda
