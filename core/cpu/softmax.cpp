// Softmax over rows: each is read from memory once, and written once; the passes between find it in the
// cache.
#include <algorithm>
#include <cmath>
#include <limits>

#include "espalier/core/kernels.h"
#include "espalier/core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "espalier/core/cpu/softmax.cpp"
#include <hwy/foreach_target.h>  // first: what follows is compiled once for each instruction set

#include <hwy/highway.h>

#include "espalier/core/cpu/dispatch.h"
#include "espalier/core/cpu/softmax-inl.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {

int64_t softmax_grain(int64_t c) { return std::max<int64_t>(1, 4096 / c); }

void softmax_row(float* y, const float* x, int64_t c) {
  const RowSums sums = exponentials(y, x, c);
  const bool broken = std::isnan(sums.below);  // -inf, which is a valid logit, is none
  const auto share = hn::Set(Floats(), broken ? std::numeric_limits<float>::quiet_NaN() : 1.0f / sums.total);
  for_vectors(0, c, [&](auto tail, int64_t i) HWY_ATTR {
    store(tail, hn::Mul(load(tail, y + i, c - i), share), y + i, c - i);
  });
}

void softmax_forward(float* y, const float* x, const NormShape& s) {
  parallel_for(s.rows, softmax_grain(s.c), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) softmax_row(y + row * s.c, x + row * s.c, s.c);
  });
}

void softmax_backward_row(float* dx, const float* dy, const float* y, int64_t c, bool accumulate) {
  const Floats d;
  auto sum = hn::Zero(d);
  for_vectors(0, c, [&](auto tail, int64_t i) HWY_ATTR {
    sum = hn::MulAdd(load(tail, dy + i, c - i), load(tail, y + i, c - i), sum);
  });
  const auto mean = hn::SumOfLanes(d, sum);
  for_vectors(0, c, [&](auto tail, int64_t i) HWY_ATTR {
    const auto departure = hn::Sub(load(tail, dy + i, c - i), mean);
    put(tail, hn::Mul(load(tail, y + i, c - i), departure), dx + i, c - i, accumulate);
  });
}

void softmax_backward(float* dx, const float* dy, const float* y, const NormShape& s, bool accumulate) {
  parallel_for(s.rows, softmax_grain(s.c), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t at = row * s.c;
      softmax_backward_row(dx + at, dy + at, y + at, s.c, accumulate);
    }
  });
}

}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace espalier::cpu {

void softmax_forward(float* y, const float* x, const NormShape& s) { ESP_DISPATCH(softmax_forward)(y, x, s); }
void softmax_backward(float* dx, const float* dy, const float* y, const NormShape& s, bool accumulate) {
  ESP_DISPATCH(softmax_backward)(dx, dy, y, s, accumulate);
}

}  // namespace espalier::cpu
#endif
