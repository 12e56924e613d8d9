// Activations and their gradients, and the pass behind a layer with a bias: gradient of the activation and of
// the bias at once.
#include "espalier/core/kernels.h"
#include "espalier/core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "espalier/core/cpu/activation.cpp"
#include <hwy/foreach_target.h>  // first: what follows is compiled once for each instruction set

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "espalier/core/cpu/dispatch.h"
#include "espalier/core/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {

constexpr int64_t grain = 8192;

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

void activation_forward(float* y, const float* x, Activation activation, int64_t n) {
  with(activation, [=](auto f) {
    parallel_for(n, grain, [=](int64_t begin, int64_t end) {
      for_vectors(begin, end, [=](auto tail, int64_t i) {
        store(tail, apply<decltype(f)::value>(load(tail, x + i, end - i)), y + i, end - i);
      });
    });
  });
}

void activation_backward(float* dx, const float* dy, const float* saved, Activation activation, int64_t n,
                         bool accumulate) {
  with(activation, [=](auto f) {
    parallel_for(n, grain, [=](int64_t begin, int64_t end) {
      for_vectors(begin, end, [=](auto tail, int64_t i) {
        const auto at = f == Activation::none ? hn::Zero(Floats()) : load(tail, saved + i, end - i);
        put(tail, derive<decltype(f)::value>(load(tail, dy + i, end - i), at), dx + i, end - i, accumulate);
      });
    });
  });
}

void activation_bias_backward(float* dx, float* db, const float* dy, const float* saved,
                              Activation activation, int64_t rows, int64_t cols, bool accumulate_db,
                              void* scratch) {
  auto* partial = static_cast<float*>(scratch);  // [parts, cols]
  const int parts = parts_for(rows, std::max<int64_t>(1, grain / cols));
  with(activation, [=](auto f) {
    parallel_parts(parts, [=](int part) {
      const Range range = part_of(rows, part, parts);
      float* sums = partial + part * cols;
      std::fill(sums, sums + cols, 0.0f);
      for (int64_t row = range.begin; row < range.end; ++row) {
        const int64_t at = row * cols;
        for_vectors(0, cols, [=](auto tail, int64_t i) {
          auto gradient = load(tail, dy + at + i, cols - i);
          if constexpr (decltype(f)::value != Activation::none) {
            gradient = derive<decltype(f)::value>(gradient, load(tail, saved + at + i, cols - i));
            store(tail, gradient, dx + at + i, cols - i);
          }
          put(tail, gradient, sums + i, cols - i, true);
        });
      }
    });
  });
  for (int part = 0; part < parts; ++part)
    for_vectors(0, cols, [=](auto tail, int64_t i) {
      put(tail, load(tail, partial + part * cols + i, cols - i), db + i, cols - i, part > 0 || accumulate_db);
    });
}

}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace espalier::cpu {

HWY_EXPORT(activation_forward);
HWY_EXPORT(activation_backward);
HWY_EXPORT(activation_bias_backward);

void activation_forward(float* y, const float* x, Activation f, int64_t n) {
  ESP_DISPATCH(activation_forward)(y, x, f, n);
}
void activation_backward(float* dx, const float* dy, const float* saved, Activation f, int64_t n,
                         bool accumulate) {
  ESP_DISPATCH(activation_backward)(dx, dy, saved, f, n, accumulate);
}
void activation_bias_backward(float* dx, float* db, const float* dy, const float* saved, Activation f,
                              int64_t rows, int64_t cols, bool accumulate_db, void* scratch) {
  ESP_DISPATCH(activation_bias_backward)(dx, db, dy, saved, f, rows, cols, accumulate_db, scratch);
}

}  // namespace espalier::cpu
#endif
