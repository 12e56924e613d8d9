#include "espalier/autograd/ops.h"
#include "espalier/autograd/ops/activation_bias.h"

namespace espalier::ops {

Variable activation(const Variable& x, Activation f) {
  const Tensor& from = x.value();
  Tensor y = from.like(from.shape());
  ESP_RUN_REAL(from, activation_forward(y.data<Real>(), from.data<Real>(), f, from.elements()));
  return record({.op = "activation",
                 .attributes = {{"function", std::string(activation_name(f))}},
                 .inputs = {x},
                 .output = y,
                 .channels = Channels::kept,
                 .backward = [f, saved = keeps_input(f) ? from : y](const Tensor& dy, const Gradients& to) {
                   const auto dx = to.into(0);
                   ESP_RUN_REAL(dy, activation_backward(dx.data<Real>(), dy.data<Real>(), saved.data<Real>(),
                                                        f, dy.elements(), dx.accumulate));
                 }});
}

}  // namespace espalier::ops
