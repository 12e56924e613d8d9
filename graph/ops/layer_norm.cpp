#include "espalier/graph/ops.h"

#include <optional>

#include "espalier/graph/ops/families.h"
#include "espalier/graph/ops/kernel_calls.h"
#include "espalier/graph/ops/operand.h"
#include "espalier/graph/ops/scratch.h"

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

// What is to know of it beside how it computes: graph/op.h

namespace {

Calls layer_norm_kernels(const KernelContext& op) {
  const Tensor x = input_of(op, "x", 1), dy = output_of(op, 2);
  const Device device = op.pass.device;
  const NormShape s{x.elements() / x.shape()[-1], x.shape()[-1]};
  Tensor of_channels = Tensor::full({s.c}, 1.0f, device), of_rows = Tensor::full({s.rows}, 1.0f, device);
  Calls calls{{"layer_norm_forward", "", 0, traffic(x, 2),
               [=, y = like(x), mean = like(of_rows), rstd = like(of_rows)]() mutable {
                 ESP_RUN(device, layer_norm_forward(y.f32(), mean.f32(), rstd.f32(), x.f32(),
                                                    of_channels.f32(), of_channels.f32(), 1e-6f, s));
               }}};
  if (!op.pass.training) return calls;
  const bool adds = op.add("x");
  calls.push_back(
      {"layer_norm_backward", "", 0, traffic(x, adds ? 4 : 3),
       [=, dx = op.gradient("x") ? like(x) : Tensor(), dgamma = like(of_channels), dbeta = like(of_channels),
        scratch = memory(ESP_RUN(device, layer_norm_backward_scratch(s)), device)]() mutable {
         const NormGradients to{.dx = dx.f32(), .dgamma = dgamma.f32(), .dbeta = dbeta.f32(), .add_dx = adds};
         const LayerNormBackward from{.dy = dy.f32(),
                                      .x = x.f32(),
                                      .gamma = of_channels.f32(),
                                      .mean = of_rows.f32(),
                                      .rstd = of_rows.f32()};
         ESP_RUN(device, layer_norm_backward(to, from, s, scratch.raw()));
       }});
  return calls;
}

}  // namespace

std::vector<Op> layer_norm_rows() {
  return {{.name = "layer_norm",
           .inputs = {{"x"},
                      {"weight", OpInput::required, Role::scale},
                      {"bias", OpInput::required, Role::shift}},
           .attributes = {{"eps", 1e-5}},
           .run =
               [](const OpArguments& x) {
                 return layer_norm(x("x"), x("weight"), x("bias"), x.call.real("eps"));
               },
           .kernels = layer_norm_kernels}};
}

}  // namespace espalier::ops
