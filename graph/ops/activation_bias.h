// What linear and conv2d share after their product: the gradient of the activation and of the bias.
#pragma once

#include <algorithm>
#include <string_view>

#include "espalier/autograd/variable.h"
#include "espalier/core/kernels.h"
#include "espalier/graph/ops/scratch.h"

namespace espalier::ops {

/// f(z), z kept.
inline Tensor activated(const Tensor& z, Activation f) {
  Tensor y = z.like(z.shape());
  ESP_RUN_REAL(z, activation_forward(y.data<Real>(), z.data<Real>(), f, z.elements()));
  return y;
}

/// Writes or adds the sums of dy, rows of `cols` numbers, over its rows.
inline void sum_rows(const Gradients::Target& to, const Tensor& dy, int64_t cols) {
  Scratch scratch(ESP_RUN(dy.device(), rows_scratch(cols)), dy.device());
  ESP_RUN_REAL(dy, activation_bias_backward(static_cast<Real*>(nullptr), to.f32(), dy.data<Real>(),
                                            static_cast<const Real*>(nullptr), Activation::none,
                                            dy.elements() / cols, cols, to.accumulate, scratch.data()));
}

/// dz = dy f'(z) and, if input number `bias` needs it, its gradient: the sums of dz over all but the last
/// axis.
inline Tensor backward_activation_bias(const Tensor& dy, const Tensor& saved, Activation f,
                                       const Gradients& gradients, size_t bias, bool has_bias) {
  const Device device = dy.device();
  const int64_t cols = dy.shape()[-1], rows = dy.elements() / cols;
  Tensor dz = f == Activation::none ? dy : dy.like(dy.shape());
  if (has_bias && gradients.needed(bias)) {
    const auto target = gradients.into(bias);
    Scratch scratch(ESP_RUN(device, rows_scratch(cols)), device);
    ESP_RUN_REAL(dy, activation_bias_backward(f == Activation::none ? nullptr : dz.data<Real>(), target.f32(),
                                              dy.data<Real>(), saved.data<Real>(), f, rows, cols,
                                              target.accumulate, scratch.data()));
  } else if (f != Activation::none) {
    ESP_RUN_REAL(dy, activation_backward(dz.data<Real>(), dy.data<Real>(), saved.data<Real>(), f,
                                         dy.elements(), false));
  }
  return dz;
}

inline constexpr const char* activation_names[] = {
    "none", "relu", "gelu", "sigmoid", "tanh", "relu6", "silu", "hard_swish", "hard_sigmoid", "leaky_relu"};
inline const char* activation_name(Activation f) { return activation_names[static_cast<int>(f)]; }
/// What a graph calls it. Error for a name that is none.
inline Activation activation_named(std::string_view name) {
  const auto found = std::ranges::find(activation_names, name);
  ESP_CHECK(found != std::end(activation_names), "activation: no '", name, "'");
  return static_cast<Activation>(found - std::begin(activation_names));
}

}  // namespace espalier::ops
