// The exponentials of a row, as softmax and its cross-entropy want them. Included once per instruction set.
#if defined(ESPALIER_CORE_CPU_SOFTMAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ESPALIER_CORE_CPU_SOFTMAX_INL_H_
#undef ESPALIER_CORE_CPU_SOFTMAX_INL_H_
#else
#define ESPALIER_CORE_CPU_SOFTMAX_INL_H_
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "espalier/core/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {

/// In the tail, lanes past the end hold `other`.
template <class Tail>
HWY_INLINE FloatVector load_or(Tail tail, const float* p, int64_t left, float other) {
  const auto v = load(tail, p, left);
  if constexpr (!Tail::value) return v;
  const Floats d;
  return hn::IfThenElse(hn::FirstN(d, static_cast<size_t>(left)), v, hn::Set(d, other));
}

struct RowSums {
  float largest;  ///< of the row, z
  float total;    ///< sum e^(factor (z - largest))
  float below;    ///< sum (z - largest): NaN if one of z is, which hn::Exp makes 0
};

/// e [n] = e^(factor (z - largest)), or null; z [n], n > 0; factor > 0.
inline RowSums exponentials(float* e, const float* z, int64_t n, float factor = 1.0f) {
  const Floats d;
  auto top = hn::Set(d, z[0]), sum = hn::Zero(d), below = hn::Zero(d);
  for_vectors(0, n,
              [&](auto tail, int64_t i) HWY_ATTR { top = hn::Max(top, load_or(tail, z + i, n - i, z[0])); });
  // It is taken off every term: an offset that all of a row share cancels before anything is rounded.
  const auto greatest = hn::MaxOfLanes(d, top);
  const float largest = hn::GetLane(greatest);
  for_vectors(0, n, [&](auto tail, int64_t i) HWY_ATTR {
    const auto difference = hn::Sub(load_or(tail, z + i, n - i, largest), greatest);
    below = hn::Add(below, difference);
    const auto power = hn::Exp(d, hn::Mul(difference, hn::Set(d, factor)));
    if (e) store(tail, power, e + i, n - i);
    if constexpr (decltype(tail)::value)
      sum = hn::Add(sum, hn::IfThenElseZero(hn::FirstN(d, static_cast<size_t>(n - i)), power));
    else
      sum = hn::Add(sum, power);
  });
  return {largest, hn::GetLane(hn::SumOfLanes(d, sum)), hn::GetLane(hn::SumOfLanes(d, below))};
}

}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
