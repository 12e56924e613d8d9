#include "espalier/core/cpu/linear/gemv.h"

#include "espalier/core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "espalier/core/cpu/linear/gemv.cpp"
#include <hwy/foreach_target.h>  // first: what follows is compiled once for each instruction set

#include <hwy/highway.h>

#include "espalier/core/cpu/dispatch.h"
#include "espalier/core/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {

/// `outs` outputs from `o` on of `rows` rows: one pass over their weights.
template <int rows, int outs>
HWY_INLINE void block(float* y, const float* x, const float* w, const float* b, const LinearShape& s,
                      int64_t o) {
  const Floats d;
  FloatVector sums[rows][outs];
  for (auto& row : sums)
    for (auto& sum : row) sum = hn::Zero(d);
  for_vectors(0, s.in, [&](auto tail, int64_t i) HWY_ATTR {
    FloatVector weights[outs];
    for (int k = 0; k < outs; ++k) weights[k] = load(tail, w + (o + k) * s.in + i, s.in - i);
    for (int r = 0; r < rows; ++r) {
      const auto value = load(tail, x + r * s.in + i, s.in - i);
      for (int k = 0; k < outs; ++k) sums[r][k] = hn::MulAdd(value, weights[k], sums[r][k]);
    }
  });
  for (int r = 0; r < rows; ++r)
    for (int k = 0; k < outs; ++k)
      y[r * s.out + o + k] = hn::GetLane(hn::SumOfLanes(d, sums[r][k])) + (b ? b[o + k] : 0.0f);
}

template <int rows>
void product(float* y, const float* x, const float* w, const float* b, const LinearShape& s) {
  constexpr int outs = rows == 1 ? 8 : 4;  // sums that fit the registers and hide the multiply-add's latency
  parallel_for(s.out, std::max<int64_t>(outs, 16384 / s.in), [=](int64_t begin, int64_t end) HWY_ATTR {
    int64_t o = begin;
    for (; o + outs <= end; o += outs) block<rows, outs>(y, x, w, b, s, o);
    for (; o < end; ++o) block<rows, 1>(y, x, w, b, s, o);
  });
}

void gemv(float* y, const float* x, const float* w, const float* b, const LinearShape& s) {
  for (int64_t row = 0; row < s.n; row += 4) {
    float* to = y + row * s.out;
    const float* from = x + row * s.in;
    switch (s.n - row) {
      case 1:
        product<1>(to, from, w, b, s);
        break;
      case 2:
        product<2>(to, from, w, b, s);
        break;
      case 3:
        product<3>(to, from, w, b, s);
        break;
      default:
        product<4>(to, from, w, b, s);
    }
  }
}

}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace espalier::cpu {

void gemv(float* y, const float* x, const float* w, const float* b, const LinearShape& s) {
  ESP_DISPATCH(gemv)(y, x, w, b, s);
}

}  // namespace espalier::cpu
#endif
