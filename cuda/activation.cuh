// Activations and their derivatives, as core/cpu/activation-inl.h has them on vectors.
#pragma once

#include <type_traits>

#include "espalier/core/kernels.h"
#include "espalier/cuda/device.cuh"

namespace espalier::cuda {

/// Phi(x), the normal distribution's integral, and its density phi(x). They share one exponential: Phi(x) =
/// (1 + erf(x / sqrt 2)) / 2 with erf z = 1 - poly(1 / (1 + p z)) exp(-z^2) (Abramowitz and Stegun 7.1.26,
/// error 1.5e-7).
struct Normal {
  float integral, density;
};
__device__ __forceinline__ Normal normal(float x) {
  const float exponential = expf(-0.5f * x * x);
  const float z = fabsf(x) * 0.70710678f;
  const float t = 1.0f / fmaf(z, 0.3275911f, 1.0f);
  float poly = fmaf(t, 1.061405429f, -1.453152027f);
  poly = fmaf(poly, t, 1.421413741f);
  poly = fmaf(poly, t, -0.284496736f);
  poly = fmaf(poly, t, 0.254829592f) * t;
  const float tail = poly * exponential * 0.5f;  // 1 - Phi(|x|)
  return {x < 0.0f ? tail : 1.0f - tail, exponential * 0.39894228f};
}

/// 1 / (1 + e^-x)
__device__ __forceinline__ float logistic(float x) {
  const float e = expf(-fabsf(x));
  return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

/// f(x). A NaN stays a NaN, so that the loss shows it.
template <Activation f>
__device__ __forceinline__ float apply(float x) {
  if constexpr (f == Activation::relu) return x < 0.0f ? 0.0f : x;
  if constexpr (f == Activation::gelu) return x * normal(x).integral;
  if constexpr (f == Activation::sigmoid) return logistic(x);
  if constexpr (f == Activation::tanh) return tanhf(x);
  if constexpr (f == Activation::relu6) return x > 6.0f ? 6.0f : apply<Activation::relu>(x);
  if constexpr (f == Activation::silu) return x * logistic(x);
  if constexpr (f == Activation::hard_sigmoid) return apply<Activation::relu6>(x + 3.0f) * (1.0f / 6);
  if constexpr (f == Activation::hard_swish) return x * apply<Activation::hard_sigmoid>(x);
  if constexpr (f == Activation::leaky_relu) return x < 0.0f ? leaky_slope * x : x;
  return x;
}

/// dy f'(.), from the input where keeps_input(f), else from the output.
template <Activation f>
__device__ __forceinline__ float derive(float dy, float saved) {
  if constexpr (f == Activation::relu) return saved > 0.0f ? dy : 0.0f;
  if constexpr (f == Activation::gelu) {
    const Normal at = normal(saved);
    return dy * fmaf(saved, at.density, at.integral);
  }
  if constexpr (f == Activation::sigmoid) return dy * (saved * (1.0f - saved));
  if constexpr (f == Activation::tanh) return dy * fmaf(-saved, saved, 1.0f);
  if constexpr (f == Activation::relu6) return saved > 0.0f && saved < 6.0f ? dy : 0.0f;
  if constexpr (f == Activation::silu) {
    const float s = logistic(saved);
    return dy * (s * fmaf(saved, 1.0f - s, 1.0f));
  }
  if constexpr (f == Activation::hard_sigmoid) return saved > 0.0f && saved < 1.0f ? dy * (1.0f / 6) : 0.0f;
  if constexpr (f == Activation::hard_swish) {
    const float slope = fmaf(saved, 1.0f / 3, 0.5f);
    return saved >= 3.0f ? dy : saved > -3.0f ? dy * slope : 0.0f;
  }
  if constexpr (f == Activation::leaky_relu) return saved > 0.0f ? dy : leaky_slope * dy;
  return dy;
}

/// Calls body, on the host, with the activation as a compile-time constant.
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

}  // namespace espalier::cuda
