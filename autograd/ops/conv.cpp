#include "espalier/autograd/ops.h"
#include "espalier/autograd/ops/activation_bias.h"

namespace espalier::ops {

Variable conv2d(const Variable& x, const Variable& w, const Variable& b, const Conv2dOptions& options,
                Activation f) {
  ESP_CHECK(x.shape().axes() == 4 && w.shape().axes() == 4,
            "conv2d: expects x [N,H,W,C] and w [O,Kh,Kw,C], found ", x.shape(), " and ", w.shape());
  const ConvShape s{x.shape()[0], x.shape()[1], x.shape()[2],   x.shape()[3], w.shape()[0],
                    w.shape()[1], w.shape()[2], options.stride, options.pad,  options.groups};
  ESP_CHECK(s.groups > 0 && s.c % s.groups == 0 && s.o % s.groups == 0, "conv2d: ", s.groups,
            " groups do not divide ", s.c, " input and ", s.o, " output channels");
  ESP_CHECK(w.shape()[3] == s.c / s.groups, "conv2d: input has ", s.c / s.groups,
            " channels a group, weight expects ", w.shape()[3]);
  ESP_CHECK(s.stride > 0 && s.pad >= 0 && s.h + 2 * s.pad >= s.kh && s.w + 2 * s.pad >= s.kw,
            "conv2d: a window of ", s.kh, "x", s.kw, " with padding ", s.pad, " does not fit an image of ",
            s.h, "x", s.w);
  ESP_CHECK(!b.defined() || b.shape() == Shape{s.o}, "conv2d: bias has shape ", b.shape(), ", expected [",
            s.o, "]");
  const Device device = x.value().device();
  Tensor y = Tensor::empty({s.n, s.out_h(), s.out_w(), s.o}, DType::f32, device);
  {
    Scratch scratch(ESP_RUN(device, conv2d_forward_scratch(s, b.defined())), device);
    ESP_RUN(device, conv2d_forward(y.f32(), x.value().f32(), w.value().f32(),
                                   b.defined() ? b.value().f32() : nullptr, s, scratch.data()));
  }
  Tensor saved = activate(y, f, needs_history({&x, &w, &b}));
  return record(
      {.op = "conv2d",
       .attributes = {{"stride", s.stride},
                      {"pad", s.pad},
                      {"groups", s.groups},
                      {"activation", std::string(activation_name(f))}},
       .inputs = b.defined() ? std::vector{x, w, b} : std::vector{x, w},
       .output = y,
       .channels = {Channels::mixed, {s.groups}},
       .backward = [s, f, saved, x = x.value(), w = w.value(), bias = b.defined()](const Tensor& dy,
                                                                                   const Gradients& to) {
         const Device device = dy.device();
         const Tensor dz = backward_activation_bias(dy, saved, f, to, 2, bias);
         if (to.needed(1)) {
           const auto dw = to.into(1);
           Scratch scratch(ESP_RUN(device, conv2d_backward_weights_scratch(s, dw.accumulate)), device);
           ESP_RUN(device,
                   conv2d_backward_weights(dw.data, dz.f32(), x.f32(), s, dw.accumulate, scratch.data()));
         }
         if (to.needed(0)) {
           const auto dx = to.into(0);
           Scratch scratch(ESP_RUN(device, conv2d_backward_data_scratch(s, dx.accumulate)), device);
           ESP_RUN(device,
                   conv2d_backward_data(dx.data, dz.f32(), w.f32(), s, dx.accumulate, scratch.data()));
         }
       }});
}

}  // namespace espalier::ops
