// The transforms of Winograd's convolution F(4x4,3x3): Y = A' [(G g G') o (B' d B)] A (Lavin and Gray 2016),
// with the points 0, 1, -1, 2, -2 and infinity, one function a matrix, all on vectors of channels. Included
// once per instruction set.
//
// Where the matrices come from, along one axis (Winograd 1980; the other axis is the same). The product of
// two polynomials, s(t) = g(t) u(t), with three coefficients of g and four of u, takes 12 products term by
// term. But its six coefficients follow from its values at six points, s(p) = g(p) u(p), one product each;
// the value at infinity is the leading coefficient. With V, whose row of p is 1 p ... p^5, W, whose row is 1
// p p^2, and A, whose row is 1 p p^2 p^3:
//
//   s = V^-1 [(W g) o (A u)]
//
// A tile's outputs y_i = sum over k of g_k d_(i+k) are the transpose of this map from u to s:
//
//   y = A' [(W g) o (V'^-1 d)]
//
// Row p of V'^-1 has the denominator N = product of p - q over the other finite points q: 4, -6, -6, 24, 24,
// and 1 at infinity. It is moved to the weights, which are transformed once for all tiles, so that B' holds
// whole numbers:
//
//   row p of B': the coefficients of the product of t - q over the other finite points q, from t^0 up
//                (infinity: over all five), e.g. (t^2 - 1)(t^2 - 4) gives 4 0 -5 0 1 0 for p = 0
//   row p of G:  1 p p^2, divided by N (infinity: 0 0 1)
//   row p of A:  1 p p^2 p^3           (infinity: 0 0 0 1)
//
// Small points in pairs of both signs keep these numbers, and with them rounding, small, and share sums.
#if defined(ESPALIER_CORE_CPU_WINOGRAD_TRANSFORM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ESPALIER_CORE_CPU_WINOGRAD_TRANSFORM_INL_H_
#undef ESPALIER_CORE_CPU_WINOGRAD_TRANSFORM_INL_H_
#else
#define ESPALIER_CORE_CPU_WINOGRAD_TRANSFORM_INL_H_
#endif

#include "espalier/core/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {

constexpr int in_side = 6;   // pixels a tile reads in each direction
constexpr int out_side = 4;  // and makes
constexpr int points = 36;   // products of a tile and a pair of channels; a direct convolution takes 144

HWY_INLINE FloatVector times(float factor, FloatVector v) { return hn::Mul(hn::Set(Floats(), factor), v); }
/// factor v + w
HWY_INLINE FloatVector times_plus(float factor, FloatVector v, FloatVector w) {
  return hn::MulAdd(hn::Set(Floats(), factor), v, w);
}

/// B' d: pixels to points.
struct InputTransform {
  static constexpr int from = 6, to = 6;
  HWY_INLINE static void run(const FloatVector (&d)[6], FloatVector (&v)[6]) {
    const auto even = times_plus(-4, d[2], d[4]), odd = times_plus(-4, d[1], d[3]);
    const auto even2 = hn::Sub(d[4], d[2]), odd2 = hn::Sub(d[3], d[1]);
    v[0] = times_plus(4, d[0], times_plus(-5, d[2], d[4]));
    v[1] = hn::Add(even, odd);
    v[2] = hn::Sub(even, odd);
    v[3] = times_plus(2, odd2, even2);
    v[4] = times_plus(-2, odd2, even2);
    v[5] = times_plus(4, d[1], times_plus(-5, d[3], d[5]));
  }
};

/// A' m: points to outputs.
struct OutputTransform {
  static constexpr int from = 6, to = 4;
  HWY_INLINE static void run(const FloatVector (&m)[6], FloatVector (&y)[4]) {
    const auto s1 = hn::Add(m[1], m[2]), d1 = hn::Sub(m[1], m[2]);
    const auto s2 = hn::Add(m[3], m[4]), d2 = hn::Sub(m[3], m[4]);
    y[0] = hn::Add(m[0], hn::Add(s1, s2));
    y[1] = times_plus(2, d2, d1);
    y[2] = times_plus(4, s2, s1);
    y[3] = times_plus(8, d2, hn::Add(d1, m[5]));
  }
};

/// A dy: outputs' gradients to points.
struct GradientTransform {
  static constexpr int from = 4, to = 6;
  HWY_INLINE static void run(const FloatVector (&y)[4], FloatVector (&m)[6]) {
    const auto even = hn::Add(y[0], y[2]), odd = hn::Add(y[1], y[3]);
    const auto even4 = times_plus(4, y[2], y[0]), odd4 = times(2, times_plus(4, y[3], y[1]));
    m[0] = y[0];
    m[1] = hn::Add(even, odd);
    m[2] = hn::Sub(even, odd);
    m[3] = hn::Add(even4, odd4);
    m[4] = hn::Sub(even4, odd4);
    m[5] = y[3];
  }
};

/// G g: weights to points.
struct WeightTransform {
  static constexpr int from = 3, to = 6;
  HWY_INLINE static void run(const FloatVector (&g)[3], FloatVector (&u)[6]) {
    const auto outer = times(-1.0f / 6, hn::Add(g[0], g[2])), inner = times(1.0f / 6, g[1]);
    const auto outer2 = times_plus(1.0f / 24, g[0], times(1.0f / 6, g[2])), inner2 = times(1.0f / 12, g[1]);
    u[0] = times(0.25f, g[0]);
    u[1] = hn::Sub(outer, inner);
    u[2] = hn::Add(outer, inner);
    u[3] = hn::Add(outer2, inner2);
    u[4] = hn::Sub(outer2, inner2);
    u[5] = g[2];
  }
};

/// G' du: points to weights' gradients.
struct WeightGradientTransform {
  static constexpr int from = 6, to = 3;
  HWY_INLINE static void run(const FloatVector (&u)[6], FloatVector (&g)[3]) {
    const auto s1 = hn::Add(u[1], u[2]), d1 = hn::Sub(u[2], u[1]);
    const auto s2 = hn::Add(u[3], u[4]), d2 = hn::Sub(u[3], u[4]);
    g[0] = times_plus(0.25f, u[0], times_plus(1.0f / 24, s2, times(-1.0f / 6, s1)));
    g[1] = times_plus(1.0f / 12, d2, times(1.0f / 6, d1));
    g[2] = times_plus(1.0f / 6, hn::Sub(s2, s1), u[5]);
  }
};

/// Applies a transform T to rows and columns of a square: get(row, column) gives its vectors, put(row,
/// column, vector) takes those of the result.
template <class T, class Get, class Put>
HWY_INLINE void transform_square(const Get& get, const Put& put) {
  FloatVector half[T::from][T::to];
#pragma GCC unroll 6
  for (int i = 0; i < T::from; ++i) {
    FloatVector row[T::from];
#pragma GCC unroll 6
    for (int j = 0; j < T::from; ++j) row[j] = get(i, j);
    T::run(row, half[i]);
  }
#pragma GCC unroll 6
  for (int j = 0; j < T::to; ++j) {
    FloatVector column[T::from], result[T::to];
#pragma GCC unroll 6
    for (int i = 0; i < T::from; ++i) column[i] = half[i][j];
    T::run(column, result);
#pragma GCC unroll 6
    for (int i = 0; i < T::to; ++i) put(i, j, result[i]);
  }
}

}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
