#include "espalier/autograd/ops/activation_bias.h"
#include "espalier/autograd/ops/convolve.h"

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
  ESP_CHECK(f == Activation::none || f == Activation::relu || f == Activation::gelu,
            "batch_norm: activation is none, relu or gelu, found ", activation_name(f));
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
      ESP_RUN(device,
              channel_statistics({own.mean.f32(), own.variance.f32()}, x.value().f32(), s, scratch.data()));
      statistics = &own;
    }
    running = {mean.f32(), variance.f32(), norm.momentum, s.rows};
    mean = statistics->mean;
    variance = statistics->variance;
  }
  const ScaleShift line(norm, mean, variance, running);
  Tensor y = x.value().like(x.shape());
  ESP_RUN(device, scale_shift_forward(y.f32(), x.value().f32(), line.scale.f32(), line.shift.f32(),
                                      residual.defined() ? residual.value().f32() : nullptr, f, s));
  std::vector<Variable> inputs{x, norm.gamma, norm.beta, norm.running_mean, norm.running_variance};
  if (residual.defined()) inputs.push_back(residual);
  // With a residual, relu's sign is read off y, which the next op keeps anyway; gelu needs z, and so the
  // residual.
  const bool keep_y = residual.defined() && f == Activation::relu,
             keep_residual = residual.defined() && f == Activation::gelu;
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
                   NormGradients gradients;
                   const auto want = [&](size_t input, float*& data, bool& add) {
                     if (!to.needed(input)) return;
                     const bool large = input == 0 || input == 5;
                     const auto target = large ? to.into(input, dy) : to.into(input);
                     data = target.data;
                     add = target.accumulate;
                   };
                   want(1, gradients.dgamma, gradients.add_dgamma);
                   want(2, gradients.dbeta, gradients.add_dbeta);
                   if (residual) want(5, gradients.dresidual, gradients.add_dresidual);
                   want(0, gradients.dx, gradients.add_dx);
                   const NormBackward from{.dy = dy.f32(),
                                           .x = x.f32(),
                                           .scale = line.scale.f32(),
                                           .shift = line.shift.f32(),
                                           .mean = mean.f32(),
                                           .rstd = line.rstd.f32(),
                                           .residual = kept_residual.f32(),
                                           .y = kept_y.f32(),
                                           .f = f,
                                           .batch_statistics = training};
                   Scratch scratch(ESP_RUN(dy.device(), batch_norm_backward_scratch(s)), dy.device());
                   ESP_RUN(dy.device(), batch_norm_backward(gradients, from, s, scratch.data()));
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
  if (Tape::active() || needs_history({&x, &w, &b, &norm.gamma, &norm.beta, &residual}))
    return batch_norm(conv2d(x, w, b, options), norm, f, residual);
  const ConvShape s = conv_shape(x, w, b, options);
  check_arguments({s.n, s.out_h(), s.out_w(), s.o}, norm, f, residual);
  ScaleShift line(norm, norm.running_mean.value(), norm.running_variance.value());
  if (b.defined())  // (z + b) scale + shift
    ESP_RUN(x.value().device(), mul(line.shift.f32(), b.value().f32(), line.scale.f32(), s.o, true));
  return Variable(convolve(x.value(), w.value(), s,
                           {.scale = line.scale.f32(),
                            .shift = line.shift.f32(),
                            .residual = residual.defined() ? residual.value().f32() : nullptr,
                            .f = f}));
}

}  // namespace espalier::ops
