#include "espalier/graph/ops.h"

#include <algorithm>
#include <optional>

#include "espalier/graph/ops/activation_bias.h"
#include "espalier/graph/ops/convolve.h"
#include "espalier/graph/ops/families.h"
#include "espalier/graph/ops/kernel_calls.h"
#include "espalier/graph/ops/operand.h"
#include "espalier/graph/ops/tangents.h"

namespace espalier::ops {
namespace {

/// x: the shape of the norm's input
void check_arguments(const Shape& x, const BatchNorm& norm, Activation f, const Variable& residual) {
  const Shape channels{x[-1]};
  for (const auto& [name, values] : {std::pair{"gamma", &norm.gamma},
                                     {"beta", &norm.beta},
                                     {"running mean", &norm.running_mean},
                                     {"running variance", &norm.running_variance}})
    ESP_CHECK(values->shape() == channels, "batch_norm: input has ", channels[0], " channels, ", name,
              " has shape ", values->shape());
  ESP_CHECK(!residual.defined() || residual.shape() == x, "batch_norm: input has shape ", x, ", residual ",
            residual.shape());
  ESP_CHECK(derives_from_input(f), "batch_norm: its own activation cannot be ", activation_name(f),
            ", which has to follow it");
}

/// x scale + shift, with what backward needs to know of them; [C] each.
struct ScaleShift {
  explicit ScaleShift(int64_t c, Device device)
      : scale(Tensor::empty({c}, DType::f32, device)),
        shift(Tensor::empty({c}, DType::f32, device)),
        rstd(Tensor::empty({c}, DType::f32, device)) {}
  ScaleShift(const BatchNorm& norm, const Tensor& mean, const Tensor& variance,
             const RunningStatistics& running = {})
      : ScaleShift(mean.elements(), mean.device()) {
    ESP_RUN(mean.device(), norm_scale_shift(scale.f32(), shift.f32(), rstd.f32(), mean.f32(), variance.f32(),
                                            norm.gamma.value().f32(), norm.beta.value().f32(), norm.eps,
                                            running, mean.elements()));
  }
  Tensor scale, shift, rstd;
};

using Target = std::optional<Gradients::Target>;

template <class Real>
NormGradientsOf<Real> gradients_into(const Target& dx, const Target& dresidual, const Target& dgamma,
                                     const Target& dbeta) {
  const auto added = [](const Target& target) { return target && target->accumulate; };
  return {.dx = dx ? dx->data<Real>() : nullptr,
          .dresidual = dresidual ? dresidual->data<Real>() : nullptr,
          .dgamma = dgamma ? dgamma->f32() : nullptr,
          .dbeta = dbeta ? dbeta->f32() : nullptr,
          .add_dx = added(dx),
          .add_dresidual = added(dresidual),
          .add_dgamma = added(dgamma),
          .add_dbeta = added(dbeta)};
}

}  // namespace

Variable batch_norm(const Variable& x, const BatchNorm& norm, Activation f, const Variable& residual,
                    const BatchStatistics* statistics) {
  ESP_CHECK(x.shape().axes() >= 2, "batch_norm: expects x [N,H,W,C] or [N,C], found ", x.shape());
  check_arguments(x.shape(), norm, f, residual);
  const Device device = x.value().device();
  const int64_t c = x.shape()[-1];
  const NormShape s{x.shape().elements() / c, c};
  Tensor mean = norm.running_mean.value(), variance = norm.running_variance.value();
  RunningStatistics running;
  if (norm.training) {
    ESP_CHECK(s.rows > 1, "batch_norm: one value a channel has no variance to train with, input ", x.shape());
    BatchStatistics own;
    if (!statistics) {
      own.mean = Tensor::empty({c}, DType::f32, device);
      own.variance = Tensor::empty({c}, DType::f32, device);
      Scratch scratch(ESP_RUN(device, channel_statistics_scratch(s)), device);
      ESP_RUN_REAL(x.value(), channel_statistics({own.mean.f32(), own.variance.f32()}, x.value().data<Real>(),
                                                 s, scratch.data()));
      statistics = &own;
    }
    running = {mean.f32(), variance.f32(), norm.momentum, s.rows};
    mean = statistics->mean;
    variance = statistics->variance;
  }
  const ScaleShift line(norm, mean, variance, running);
  Tensor y = x.value().like(x.shape());
  ESP_RUN_REAL(y,
               scale_shift_forward(y.data<Real>(), x.value().data<Real>(), line.scale.f32(), line.shift.f32(),
                                   residual.defined() ? residual.value().data<Real>() : nullptr, f, s));
  std::vector<Variable> inputs{x, norm.gamma, norm.beta, norm.running_mean, norm.running_variance};
  if (residual.defined()) inputs.push_back(residual);
  // With a residual, relu's sign is read off y, which the next op keeps anyway; gelu and its like need z, and
  // so the residual.
  const bool keep_residual = residual.defined() && keeps_input(f),
             keep_y = residual.defined() && f != Activation::none && !keep_residual;
  return record({.op = "batch_norm",
                 .attributes = {{"eps", static_cast<double>(norm.eps)},
                                {"momentum", static_cast<double>(norm.momentum)},
                                {"activation", std::string(activation_name(f))}},
                 .inputs = std::move(inputs),
                 .output = y,
                 .channels = residual.defined() ? Channels::tied : Channels::kept,
                 .backward = [s, f, line, mean, x = x.value(), kept_y = keep_y ? y : Tensor(),
                              kept_residual = keep_residual ? residual.value() : Tensor(),
                              residual = residual.defined(),
                              training = norm.training](const Tensor& dy, const Gradients& to) {
                   Target dx, dgamma, dbeta, dresidual;
                   if (to.needed(1)) dgamma.emplace(to.into(1));
                   if (to.needed(2)) dbeta.emplace(to.into(2));
                   if (residual && to.needed(5)) dresidual.emplace(to.into(5, dy));
                   if (to.needed(0)) dx.emplace(to.into(0, dy));
                   Scratch scratch(ESP_RUN(dy.device(), batch_norm_backward_scratch(s)), dy.device());
                   ESP_RUN_REAL(
                       dy, batch_norm_backward(gradients_into<Real>(dx, dresidual, dgamma, dbeta),
                                               NormBackwardOf<Real>{.dy = dy.data<Real>(),
                                                                    .x = x.data<Real>(),
                                                                    .scale = line.scale.f32(),
                                                                    .shift = line.shift.f32(),
                                                                    .mean = mean.f32(),
                                                                    .rstd = line.rstd.f32(),
                                                                    .residual = kept_residual.data<Real>(),
                                                                    .y = kept_y.data<Real>(),
                                                                    .f = f,
                                                                    .batch_statistics = training},
                                               s, scratch.data()));
                 }});
}

Variable conv2d_batch_norm(const Variable& x, const Variable& w, const Variable& b,
                           const Conv2dOptions& options, const BatchNorm& norm, Activation f,
                           const Variable& residual) {
  if (norm.training) {
    BatchStatistics statistics{.center = norm.running_mean.value(), .mean = {}, .variance = {}};
    const Variable z = conv2d(x, w, b, options, Activation::none, &statistics);
    return batch_norm(z, norm, f, residual, &statistics);
  }
  OpObserver* const observer = OpObserver::active();
  const bool apart = observer && (observer->describes() || observer->separates(w, norm.gamma));
  if (apart || needs_history({&x, &w, &b, &norm.gamma, &norm.beta, &residual}))
    return batch_norm(conv2d(x, w, b, options), norm, f, residual);
  const ConvShape s = conv_shape(x, w, b, options);
  check_arguments({s.n, s.out_h(), s.out_w(), s.o}, norm, f, residual);
  ScaleShift line(norm, norm.running_mean.value(), norm.running_variance.value());
  if (b.defined())  // (z + b) scale + shift
    ESP_RUN(x.value().device(), mul(line.shift.f32(), b.value().f32(), line.scale.f32(), s.o, true));
  const Variable y(convolve(x.value(), operand(w.value(), x.value()), s,
                            {.scale = line.scale.f32(), .shift = line.shift.f32(), .f = f},
                            residual.defined() ? residual.value() : Tensor()));
  if (observer)
    observer->recorded({.op = "batch_norm",
                        .attributes = {},
                        .inputs = {Variable(), norm.gamma, norm.beta},
                        .output = y.value(),
                        .channels = {},
                        .backward = {}},
                       y);
  return y;
}

// What is to know of it beside how it computes: graph/op.h

namespace {

/// What a norm's kernels work on.
struct Norm {
  NormShape s;
  Activation f;
  Tensor x, y, residual, channels, result;
  bool residual_gradient, adds_dx, adds_dresidual;

  explicit Norm(const KernelContext& op)
      : f(op.call.activation()),
        x(input_of(op, "x", 1)),
        y(output_of(op, 2)),
        residual(op.call.has("residual") ? input_of(op, "residual", 3) : Tensor()),
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
  const bool follows = maker && fused_behind(op.call.graph, *maker) == &op.call.node;
  if (follows && !op.pass.training) return {};  // folded into the convolution
  const Norm norm(op);
  Calls calls;
  const bool taken = follows && op.pass.device == Device::cpu;  // by the convolution, while they are in cache
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

namespace {

/// In inference it is the line y = (x - mean) rstd gamma + beta + residual, whose mean and rstd do not move:
/// x~ rstd gamma + (x - mean) rstd gamma~ + beta~ + residual~.
Variable tangent_of_norm(const OpArguments& x, const OpArguments& dx) {
  const BatchNorm norm = norm_of(x);
  const Variable none = zeros_like(norm.beta), &dgamma = dx("weight"), &dbeta = dx("bias");
  Variable moved = dx("residual");
  if (dx("x").defined()) {
    BatchNorm line = norm;
    line.beta = line.running_mean = none;
    moved = sum_of(moved, batch_norm(dx("x"), line));
  }
  if (dgamma.defined() || dbeta.defined()) {
    BatchNorm line = norm;
    line.gamma = dgamma.defined() ? dgamma : none;
    line.beta = dbeta.defined() ? dbeta : none;
    moved = sum_of(moved, batch_norm(x("x"), line));
  }
  return moved;
}

}  // namespace

std::vector<Op> norm_rows() {
  return {{.name = "batch_norm",
           .inputs = {{"x"},
                      {"weight", OpInput::required, Role::scale},
                      {.name = "bias", .role = Role::shift, .adds = true},
                      {.name = "running_mean", .role = Role::buffer, .adds = true},
                      {"running_var", OpInput::required, Role::buffer},
                      {"residual", OpInput::optional}},
           .attributes = {{"eps", 1e-5}, {"momentum", 0.1}, {"activation", std::string()}},
           .activation = "activation",
           .run =
               [](const OpArguments& x) {
                 return batch_norm(x("x"), norm_of(x), x.call.activation(), x("residual"));
               },
           .tangent = tangent_of_norm,
           .homogeneous = in_any_case,
           .constants = constants_of_norm,
           .normalizes_batch = true,
           .kernels = batch_norm_kernels}};
}

}  // namespace espalier::ops
