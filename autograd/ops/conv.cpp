#include "espalier/autograd/fixed_weights.h"
#include "espalier/autograd/ops/activation_bias.h"
#include "espalier/autograd/ops/convolve.h"
#include "espalier/autograd/ops/operand.h"
#include "espalier/autograd/ops/window_attributes.h"

namespace espalier::ops {

ConvShape conv_shape(const Variable& x, const Variable& w, const Variable& b, const Conv2dOptions& options) {
  ESP_CHECK(x.shape().axes() == 4 && w.shape().axes() == 4,
            "conv2d: expects x [N,H,W,C] and w [O,Kh,Kw,C], found ", x.shape(), " and ", w.shape());
  const ConvShape s{.n = x.shape()[0],
                    .h = x.shape()[1],
                    .w = x.shape()[2],
                    .c = x.shape()[3],
                    .o = w.shape()[0],
                    .kh = w.shape()[1],
                    .kw = w.shape()[2],
                    .stride = options.stride,
                    .pad = options.pad,
                    .groups = options.groups,
                    .dtype = x.value().dtype(),
                    .dilation = options.dilation};
  ESP_CHECK(s.groups > 0 && s.c % s.groups == 0 && s.o % s.groups == 0, "conv2d: ", s.groups,
            " groups do not divide ", s.c, " input and ", s.o, " output channels");
  ESP_CHECK(w.shape()[3] == s.c / s.groups, "conv2d: input has ", s.c / s.groups,
            " channels a group, weight expects ", w.shape()[3]);
  ESP_CHECK(s.down().in_range() && s.across().in_range(), "conv2d: stride ", s.stride, ", dilation ",
            s.dilation, ", padding ", s.pad, ": expected strides and dilations of 1 to ", WindowAxis::most,
            ", padding of 0 to ", WindowAxis::most);
  ESP_CHECK(s.down().fits(s.h) && s.across().fits(s.w), "conv2d: a window of ", s.kh, "x", s.kw,
            s.dilation == 1 ? "" : join(", dilation ", s.dilation, ","), " with padding ", s.pad,
            " does not fit an image of ", s.h, "x", s.w);
  ESP_CHECK(!b.defined() || b.shape() == Shape{s.o}, "conv2d: bias has shape ", b.shape(), ", expected [",
            s.o, "]");
  return s;
}

namespace {

/// What holds for all types, with what is of one.
template <class Real>
ConvEpilogueOf<Real> with_residual(const ConvEpilogue& e, const Tensor& residual) {
  return {e.scale, e.shift, residual.data<Real>(), e.f, e.statistics};
}

}  // namespace

Tensor convolve(const Tensor& x, const Tensor& w, const ConvShape& s, const ConvEpilogue& epilogue,
                const Tensor& residual) {
  const Device device = x.device();
  Tensor y = x.like({s.n, s.out_h(), s.out_w(), s.o});
  const void* prepared =
      FixedWeights::prepared(w,
                             {s.n, s.h, s.w, s.c, s.stride.down, s.stride.across, s.dilation.down,
                              s.dilation.across, s.pad.top, s.pad.left, s.pad.bottom, s.pad.right},
                             ESP_RUN(device, conv2d_prepared_bytes(s)),
                             [&](void* made) { ESP_RUN(device, conv2d_prepare(made, w.f32(), s)); });
  Scratch scratch(ESP_RUN_REAL(x, conv2d_forward_scratch(s, with_residual<Real>(epilogue, residual))),
                  device);
  ESP_RUN_REAL(x, conv2d_forward(y.data<Real>(), x.data<Real>(), w.data<Real>(), prepared,
                                 with_residual<Real>(epilogue, residual), s, scratch.data()));
  return y;
}

Variable conv2d(const Variable& x, const Variable& w, const Variable& b, const Conv2dOptions& options,
                Activation f, BatchStatistics* statistics) {
  const ConvShape s = conv_shape(x, w, b, options);
  // A pass of its own where backward needs z as well as f(z).
  const bool apart = keeps_input(f) && needs_history({&x, &w, &b});
  ConvEpilogue epilogue{.shift = b.defined() ? b.value().f32() : nullptr, .f = apart ? Activation::none : f};
  if (statistics) {
    ESP_CHECK(f == Activation::none, "conv2d: statistics are those of an output without activation");
    statistics->mean = Tensor::empty({s.o}, DType::f32, x.value().device());
    statistics->variance = Tensor::empty({s.o}, DType::f32, x.value().device());
    epilogue.statistics = {statistics->mean.f32(), statistics->variance.f32(), statistics->center.f32()};
  }
  const Tensor weight = operand(w.value(), x.value());
  const Tensor z = convolve(x.value(), weight, s, epilogue);
  const Tensor y = apart ? activated(z, f) : z;
  Attributes attributes{{"stride", to_attribute(s.stride)},
                        {"pad", to_attribute(s.pad)},
                        {"groups", s.groups},
                        {"activation", std::string(activation_name(f))}};
  if (s.dilation != 1) attributes.emplace_back("dilation", to_attribute(s.dilation));
  return record({.op = "conv2d",
                 .attributes = std::move(attributes),
                 .inputs = b.defined() ? std::vector{x, w, b} : std::vector{x, w},
                 .output = y,
                 .channels = {Channels::mixed, {s.groups}},
                 .backward = [s, f, saved = f == Activation::none ? Tensor() : z, w = weight,
                              x = w.requires_gradient() ? x.value() : Tensor(),  // for dw alone
                              bias = b.defined()](const Tensor& dy, const Gradients& to) {
                   const Device device = dy.device();
                   const Tensor dz = backward_activation_bias(dy, saved, f, to, 2, bias);
                   if (to.needed(1)) {
                     const auto dw = to.into(1);
                     Scratch scratch(ESP_RUN(device, conv2d_backward_weights_scratch(s, dw.accumulate)),
                                     device);
                     ESP_RUN_REAL(dz, conv2d_backward_weights(dw.f32(), dz.data<Real>(), x.data<Real>(), s,
                                                              dw.accumulate, scratch.data()));
                   }
                   if (to.needed(0)) {
                     const auto dx = to.into(0);
                     Scratch scratch(ESP_RUN(device, conv2d_backward_data_scratch(s, dx.accumulate)), device);
                     ESP_RUN_REAL(dz, conv2d_backward_data(dx.data<Real>(), dz.data<Real>(), w.data<Real>(),
                                                           s, dx.accumulate, scratch.data()));
                   }
                 }});
}

}  // namespace espalier::ops
