// Textbook formulas in double precision.
#pragma once

#include <cmath>
#include <numbers>

#include "espalier/core/kernels.h"

namespace espalier {

inline double normal_integral(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

/// f(x)
inline double activated(Activation f, double x) {
  switch (f) {
    case Activation::none:
      return x;
    case Activation::relu:
      return x > 0 ? x : 0;
    case Activation::gelu:
      return x * normal_integral(x);
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::tanh:
      return std::tanh(x);
  }
  return 0;
}

/// f'(x)
inline double activation_slope(Activation f, double x) {
  switch (f) {
    case Activation::none:
      return 1;
    case Activation::relu:
      return x > 0;
    case Activation::gelu:
      return normal_integral(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi);
    case Activation::sigmoid:
      return activated(f, x) * (1 - activated(f, x));
    case Activation::tanh:
      return 1 - std::tanh(x) * std::tanh(x);
  }
  return 0;
}

constexpr Activation activations[] = {Activation::none, Activation::relu, Activation::gelu,
                                      Activation::sigmoid, Activation::tanh};

}  // namespace espalier
