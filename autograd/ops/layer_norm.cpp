#include <optional>

#include "espalier/autograd/ops.h"
#include "espalier/autograd/ops/operand.h"
#include "espalier/autograd/ops/scratch.h"

namespace espalier::ops {

Variable layer_norm(const Variable& x, const Variable& gamma, const Variable& beta, float eps) {
  const Shape& shape = x.shape();
  ESP_CHECK(shape.axes() >= 1 && shape[-1] > 0, "layer_norm: expects x [...,C], found ", shape);
  const NormShape s = rows_of(shape);
  ESP_CHECK(gamma.shape() == Shape{s.c} && beta.shape() == Shape{s.c},
            "layer_norm: scale and shift have shapes ", gamma.shape(), " and ", beta.shape(), ", expected [",
            s.c, "]");
  const Device device = x.value().device();
  Tensor y = x.value().like(shape), mean = Tensor::empty({s.rows}, DType::f32, device),
         rstd = Tensor::empty({s.rows}, DType::f32, device);
  ESP_RUN_REAL(y, layer_norm_forward(y.data<Real>(), mean.f32(), rstd.f32(), x.value().data<Real>(),
                                     gamma.value().f32(), beta.value().f32(), eps, s));
  return record({.op = "layer_norm",
                 .attributes = {{"eps", static_cast<double>(eps)}},
                 .inputs = {x, gamma, beta},
                 .output = y,
                 .channels = Channels::whole,  // a channel of zeros moves the mean and the variance
                 .backward = [s, mean, rstd, x = x.value(), gamma = gamma.value()](const Tensor& dy,
                                                                                   const Gradients& to) {
                   std::optional<Gradients::Target> dx, dgamma, dbeta;
                   if (to.needed(1)) dgamma.emplace(to.into(1));
                   if (to.needed(2)) dbeta.emplace(to.into(2));
                   if (to.needed(0)) dx.emplace(to.into(0, dy));
                   Scratch scratch(ESP_RUN(dy.device(), layer_norm_backward_scratch(s)), dy.device());
                   ESP_RUN_REAL(dy, layer_norm_backward(
                                        NormGradientsOf<Real>{.dx = dx ? dx->data<Real>() : nullptr,
                                                              .dgamma = dgamma ? dgamma->f32() : nullptr,
                                                              .dbeta = dbeta ? dbeta->f32() : nullptr,
                                                              .add_dx = dx && dx->accumulate,
                                                              .add_dgamma = dgamma && dgamma->accumulate,
                                                              .add_dbeta = dbeta && dbeta->accumulate},
                                        LayerNormBackwardOf<Real>{.dy = dy.data<Real>(),
                                                                  .x = x.data<Real>(),
                                                                  .gamma = gamma.f32(),
                                                                  .mean = mean.f32(),
                                                                  .rstd = rstd.f32()},
                                        s, scratch.data()));
                 }});
}

}  // namespace espalier::ops
