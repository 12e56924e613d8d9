#include <algorithm>

#include "espalier/autograd/ops.h"
#include "espalier/graph/ops/families.h"
#include "espalier/graph/ops/operands.h"

namespace espalier::ops {
namespace {

/// What a norm's kernels work on.
struct Norm {
  NormShape s;
  Activation f;
  Tensor x, y, residual, channels, result;
  bool residual_gradient, adds_dx, adds_dresidual;

  explicit Norm(const KernelContext& op)
      : f(op.call.activation()),
        x(operand(op, "x", 1)),
        y(output(op, 2)),
        residual(op.call.has("residual") ? operand(op, "residual", 3) : Tensor()),
        channels(Tensor::full({x.shape()[-1]}, 1.0f, op.pass.device)),
        result(like(x)),
        residual_gradient(op.gradient("residual")),
        adds_dx(op.add("x")),
        adds_dresidual(op.add("residual")) {
    s = {x.elements() / x.shape()[-1], x.shape()[-1]};
  }
};

KernelCall norm_statistics(const Norm& n) {
  return {"channel_statistics", "", 0, traffic(n.x),
          [n, mean = like(n.channels), variance = like(n.channels),
           scratch = memory(ESP_RUN(n.x.device(), channel_statistics_scratch(n.s)), n.x.device())]() mutable {
            ESP_RUN(n.x.device(),
                    channel_statistics({mean.f32(), variance.f32()}, n.x.f32(), n.s, scratch.raw()));
          }};
}

KernelCall norm_forward(const Norm& n) {
  return {"scale_shift_forward", "", 0, traffic(n.x, n.residual.defined() ? 3 : 2), [n = n]() mutable {
            ESP_RUN(n.x.device(), scale_shift_forward(n.result.f32(), n.x.f32(), n.channels.f32(),
                                                      n.channels.f32(), n.residual.f32(), n.f, n.s));
          }};
}

/// Two passes: dy and x to their sums, then to dx. A residual's gradient is written by the first and read in
/// dy's place by the second; with one, relu reads its sign off y, and gelu, which keeps_input, needs the
/// residual.
KernelCall norm_backward(const Norm& n) {
  const bool sign = n.residual.defined() && n.f != Activation::none;
  const int64_t passes = 5 + (n.residual_gradient ? 1 : 0) + (sign ? (n.residual_gradient ? 1 : 2) : 0) +
                         (n.adds_dx ? 1 : 0) + (n.adds_dresidual ? 1 : 0);
  return {
      "batch_norm_backward", "", 0, traffic(n.x, passes),
      [n = n, sign, dgamma = like(n.channels), dbeta = like(n.channels),
       dresidual = n.residual_gradient ? like(n.x) : Tensor(),
       scratch = memory(ESP_RUN(n.x.device(), batch_norm_backward_scratch(n.s)), n.x.device())]() mutable {
        const float* channels = n.channels.f32();
        const NormBackward from{.dy = n.y.f32(),
                                .x = n.x.f32(),
                                .scale = channels,
                                .shift = channels,
                                .mean = channels,
                                .rstd = channels,
                                .residual = sign && keeps_input(n.f) ? n.residual.f32() : nullptr,
                                .y = sign && !keeps_input(n.f) ? n.y.f32() : nullptr,
                                .f = n.f};
        const NormGradients to{.dx = n.result.f32(),
                               .dresidual = dresidual.f32(),
                               .dgamma = dgamma.f32(),
                               .dbeta = dbeta.f32(),
                               .add_dx = n.adds_dx,
                               .add_dresidual = n.adds_dresidual};
        ESP_RUN(n.x.device(), batch_norm_backward(to, from, n.s, scratch.raw()));
      }};
}

Calls batch_norm_kernels(const KernelContext& op) {
  const GraphNode* maker = op.call.graph.maker_of(op.call.input("x"));
  const bool behind = maker && fused_behind(op.call.graph, *maker) == &op.call.node;
  if (behind && !op.pass.training) return {};  // folded into the convolution
  const Norm norm(op);
  Calls calls;
  const bool taken = behind && op.pass.device == Device::cpu;  // by the convolution, while they are in cache
  if (op.pass.training && !taken) calls.push_back(norm_statistics(norm));
  calls.push_back(norm_forward(norm));
  if (op.pass.training) calls.push_back(norm_backward(norm));
  return calls;
}

Constants constants_of_norm(const ConstantArguments& c) {
  Constants constants = c.shift;
  if (c.call.has("residual")) add_constants(constants, c("residual"));
  return constants;
}

}  // namespace

BatchNorm norm_of(const OpArguments& x) {
  return {.gamma = x("weight"),
          .beta = x("bias"),
          .running_mean = x("running_mean"),
          .running_variance = x("running_var"),
          .eps = x.call.real("eps"),
          .momentum = x.momentum.value_or(x.call.real("momentum")),
          .training = x.training};
}

std::vector<Op> norm_rows() {
  return {{.name = "batch_norm",
           .inputs = {{"x"},
                      {"weight", OpInput::required, Role::scale},
                      {"bias", OpInput::required, Role::shift},
                      {"running_mean", OpInput::required, Role::buffer},
                      {"running_var", OpInput::required, Role::buffer},
                      {"residual", OpInput::optional}},
           .attributes = {{"eps", 1e-5}, {"momentum", 0.1}, {"activation", std::string()}},
           .activation = "activation",
           .run =
               [](const OpArguments& x) {
                 return batch_norm(x("x"), norm_of(x), x.call.activation(), x("residual"));
               },
           .constants = constants_of_norm,
           .normalizes_batch = true,
           .kernels = batch_norm_kernels}};
}

}  // namespace espalier::ops
