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

/// 1 / (1 + e^-x)
HWY_INLINE FloatVector logistic(FloatVector x) {
  const Floats d;
  const auto one = hn::Set(d, 1.0f);
  const auto e = hn::Exp(d, hn::Neg(hn::Abs(x)));  // hn::Exp is wrong above 104, and makes a NaN 0
  const auto y = hn::Div(hn::IfThenElse(hn::Lt(x, hn::Zero(d)), e, one), hn::Add(one, e));
  return hn::IfThenElse(hn::IsNaN(x), x, y);
}

/// f(x). A NaN stays a NaN, so that the loss shows it.
template <Activation f>
HWY_INLINE FloatVector apply(FloatVector x) {
  const Floats d;
  if constexpr (f == Activation::relu) return hn::IfThenZeroElse(hn::Lt(x, hn::Zero(d)), x);
  if constexpr (f == Activation::gelu) return hn::Mul(x, normal(x).integral);
  if constexpr (f == Activation::sigmoid) return logistic(x);
  if constexpr (f == Activation::tanh) return hn::Tanh(d, x);
  if constexpr (f == Activation::relu6) {
    const auto six = hn::Set(d, 6.0f);
    return hn::IfThenElse(hn::Gt(x, six), six, apply<Activation::relu>(x));
  }
  if constexpr (f == Activation::silu) return hn::Mul(x, logistic(x));
  if constexpr (f == Activation::hard_sigmoid)
    return hn::Mul(apply<Activation::relu6>(hn::Add(x, hn::Set(d, 3.0f))), hn::Set(d, 1.0f / 6));
  if constexpr (f == Activation::hard_swish) return hn::Mul(x, apply<Activation::hard_sigmoid>(x));
  if constexpr (f == Activation::leaky_relu)
    return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Mul(x, hn::Set(d, leaky_slope)), x);
  return x;
}

/// `value` where low < x < high, else 0.
HWY_INLINE FloatVector where_between(float low, FloatVector x, float high, FloatVector value) {
  const Floats d;
  return hn::IfThenElseZero(hn::And(hn::Gt(x, hn::Set(d, low)), hn::Lt(x, hn::Set(d, high))), value);
}

/// dy f'(.), from the input where keeps_input(f), else from the output.
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
  if constexpr (f == Activation::relu6) return where_between(0.0f, saved, 6.0f, dy);
  if constexpr (f == Activation::silu) {
    const auto s = logistic(saved);
    return hn::Mul(dy, hn::Mul(s, hn::MulAdd(saved, hn::Sub(one, s), one)));
  }
  if constexpr (f == Activation::hard_sigmoid)
    return where_between(0.0f, saved, 1.0f, hn::Mul(dy, hn::Set(d, 1.0f / 6)));
  if constexpr (f == Activation::hard_swish) {
    const auto slope = hn::MulAdd(saved, hn::Set(d, 1.0f / 3), hn::Set(d, 0.5f));
    const auto left = hn::IfThenElseZero(hn::Gt(saved, hn::Set(d, -3.0f)), hn::Mul(dy, slope));
    return hn::IfThenElse(hn::Lt(saved, hn::Set(d, 3.0f)), left, dy);
  }
  if constexpr (f == Activation::leaky_relu)
    return hn::IfThenElse(hn::Gt(saved, hn::Zero(d)), dy, hn::Mul(dy, hn::Set(d, leaky_slope)));
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
    case Activation::relu6:
      return body(std::integral_constant<Activation, Activation::relu6>());
    case Activation::silu:
      return body(std::integral_constant<Activation, Activation::silu>());
    case Activation::hard_swish:
      return body(std::integral_constant<Activation, Activation::hard_swish>());
    case Activation::hard_sigmoid:
      return body(std::integral_constant<Activation, Activation::hard_sigmoid>());
    case Activation::leaky_relu:
      return body(std::integral_constant<Activation, Activation::leaky_relu>());
  }
}

}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
