// Copies between places that strides say. Rows of numbers side by side in both tensors are moved as vectors.
#include <algorithm>

#include "espalier/core/kernels.h"
#include "espalier/core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "espalier/core/cpu/strided.cpp"
#include <hwy/foreach_target.h>  // first: what follows is compiled once for each instruction set

#include <hwy/highway.h>

#include "espalier/core/cpu/dispatch.h"
#include "espalier/core/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {

constexpr int64_t copy_grain = 8192;  // numbers a thread should have before a second one is worth waking

/// Along the last axis.
HWY_INLINE void copy_row(float* y, const float* x, int64_t n, int64_t y_step, int64_t x_step,
                         bool accumulate) {
  if (y_step == 1 && x_step == 1) {
    for_vectors(0, n, [=](auto tail, int64_t i) HWY_ATTR {
      put(tail, load(tail, x + i, n - i), y + i, n - i, accumulate);
    });
  } else {
    for (int64_t i = 0; i < n; ++i)
      y[i * y_step] = accumulate ? y[i * y_step] + x[i * x_step] : x[i * x_step];
  }
}

void copy_strided(float* y, const float* x, const StridedShape& s, bool accumulate) {
  constexpr int last = StridedShape::axes - 1;
  const int64_t n = s.sizes[last];
  if (n == 0) return;
  parallel_for(s.elements() / n, copy_grain / n, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int64_t rest = row, to = 0, from = 0;
      for (int axis = last - 1; axis >= 0; --axis) {
        const int64_t i = rest % s.sizes[axis];
        rest /= s.sizes[axis];
        to += i * s.y[axis];
        from += i * s.x[axis];
      }
      copy_row(y + to, x + from, n, s.y[last], s.x[last], accumulate);
    }
  });
}

}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace espalier::cpu {

void copy_strided(float* y, const float* x, const StridedShape& s, bool accumulate) {
  ESP_DISPATCH(copy_strided)(y, x, s, accumulate);
}

}  // namespace espalier::cpu
#endif
