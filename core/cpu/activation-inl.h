// Activations and their derivatives on vectors. Included once per instruction set.
#if defined(ESPALIER_CORE_CPU_ACTIVATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ESPALIER_CORE_CPU_ACTIVATION_INL_H_
#undef ESPALIER_CORE_CPU_ACTIVATION_INL_H_
#else
#define ESPALIER_CORE_CPU_ACTIVATION_INL_H_
#endif

#include <hwy/contrib/math/math-inl.h>

#include "espalier/core/cpu/simd-inl.h"
#include "espalier/core/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {

/// Phi(x), the normal distribution's integral, and its density phi(x). They share one exponential: Phi(x) =
/// (1 + erf(x / sqrt 2)) / 2 with erf z = 1 - poly(1 / (1 + p z)) exp(-z^2) (Abramowitz and Stegun 7.1.26,
/// error 1.5e-7).
struct Normal {
  FloatVector integral, density;
};
HWY_INLINE Normal normal(FloatVector x) {
  const Floats d;
  const auto c = [d](float value) { return hn::Set(d, value); };
  const auto exponential = hn::Exp(d, hn::Mul(hn::Mul(x, x), c(-0.5f)));
  const auto z = hn::Mul(hn::Abs(x), c(0.70710678f));
  const auto t = hn::Div(c(1.0f), hn::MulAdd(z, c(0.3275911f), c(1.0f)));
  auto poly = hn::MulAdd(t, c(1.061405429f), c(-1.453152027f));
  poly = hn::MulAdd(poly, t, c(1.421413741f));
  poly = hn::MulAdd(poly, t, c(-0.284496736f));
  poly = hn::Mul(hn::MulAdd(poly, t, c(0.254829592f)), t);
  const auto tail = hn::Mul(hn::Mul(poly, exponential), c(0.5f));  // 1 - Phi(|x|)
  const auto integral = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail, hn::Sub(c(1.0f), tail));
  return {integral, hn::Mul(exponential, c(0.39894228f))};
}

/// f(x). A NaN stays a NaN, so that the loss shows it.
template <Activation f>
HWY_INLINE FloatVector apply(FloatVector x) {
  const Floats d;
  if constexpr (f == Activation::relu) return hn::IfThenZeroElse(hn::Lt(x, hn::Zero(d)), x);
  if constexpr (f == Activation::gelu) return hn::Mul(x, normal(x).integral);
  if constexpr (f == Activation::sigmoid) {
    const auto one = hn::Set(d, 1.0f);
    const auto e = hn::Exp(d, hn::Neg(hn::Abs(x)));  // hn::Exp is wrong above 104, and makes a NaN 0
    const auto y = hn::Div(hn::IfThenElse(hn::Lt(x, hn::Zero(d)), e, one), hn::Add(one, e));
    return hn::IfThenElse(hn::IsNaN(x), x, y);
  }
  if constexpr (f == Activation::tanh) return hn::Tanh(d, x);
  return x;
}

/// dy f'(.), from the output for relu, sigmoid and tanh, from the input for gelu.
template <Activation f>
HWY_INLINE FloatVector derive(FloatVector dy, FloatVector saved) {
  const Floats d;
  const auto one = hn::Set(d, 1.0f);
  if constexpr (f == Activation::relu) return hn::IfThenElseZero(hn::Gt(saved, hn::Zero(d)), dy);
  if constexpr (f == Activation::gelu) {
    const Normal at = normal(saved);
    return hn::Mul(dy, hn::MulAdd(saved, at.density, at.integral));
  }
  if constexpr (f == Activation::sigmoid) return hn::Mul(dy, hn::Mul(saved, hn::Sub(one, saved)));
  if constexpr (f == Activation::tanh) return hn::Mul(dy, hn::NegMulAdd(saved, saved, one));
  return dy;
}

/// Calls body with the activation as a compile-time constant.
template <class Body>
void with(Activation f, const Body& body) {
  switch (f) {
    case Activation::none:
      return body(std::integral_constant<Activation, Activation::none>());
    case Activation::relu:
      return body(std::integral_constant<Activation, Activation::relu>());
    case Activation::gelu:
      return body(std::integral_constant<Activation, Activation::gelu>());
    case Activation::sigmoid:
      return body(std::integral_constant<Activation, Activation::sigmoid>());
    case Activation::tanh:
      return body(std::integral_constant<Activation, Activation::tanh>());
  }
}

}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
