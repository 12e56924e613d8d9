#include "espalier/autograd/ops.h"
#include "espalier/graph/ops/families.h"
#include "espalier/graph/ops/operands.h"

namespace espalier::ops {
namespace {

Calls layer_norm_kernels(const KernelContext& op) {
  const Tensor x = operand(op, "x", 1), dy = output(op, 2);
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
