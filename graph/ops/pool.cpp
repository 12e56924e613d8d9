#include "espalier/graph/ops.h"

#include <algorithm>

#include "espalier/graph/ops/families.h"
#include "espalier/graph/ops/kernel_calls.h"
#include "espalier/graph/ops/tangents.h"
#include "espalier/graph/ops/window_attributes.h"

namespace espalier::ops {
namespace {

PoolShape pool_shape(const char* op, const Variable& x, ByAxis k, ByAxis stride, Padding pad, bool ceil_mode,
                     bool count_include_pad) {
  ESP_CHECK(x.shape().axes() == 4, op, ": expects x [N,H,W,C], found ", x.shape());
  if (stride == 0) stride = k;
  const PoolShape s{x.shape()[0], x.shape()[1], x.shape()[2], x.shape()[3],     k,
                    stride,       pad,          ceil_mode,    count_include_pad};
  const auto good = [](const WindowAxis& a) {
    return a.in_range() && a.size > 0 && a.size < 16 && 2 * std::max(a.before, a.behind) <= a.size;
  };
  ESP_CHECK(good(s.down()) && good(s.across()), op, ": window ", k, ", stride ", stride, ", padding ", pad,
            ": expected a window of 1 to 15 and padding of at most half of it");
  ESP_CHECK(s.down().fits(s.h) && s.across().fits(s.w), op, ": a window of ", k.down, "x", k.across,
            " does not fit an image of ", s.h, "x", s.w);
  return s;
}

Attributes pool_attributes(const PoolShape& s) {
  Attributes all{
      {"window", to_attribute(s.k)}, {"stride", to_attribute(s.stride)}, {"pad", to_attribute(s.pad)}};
  if (s.ceil_mode) all.emplace_back("ceil_mode", int64_t{1});
  if (!s.count_include_pad) all.emplace_back("count_include_pad", int64_t{0});
  return all;
}

}  // namespace

Variable max_pool2d(const Variable& x, ByAxis k, ByAxis stride, Padding pad, bool ceil_mode) {
  const PoolShape s = pool_shape("max_pool2d", x, k, stride, pad, ceil_mode, true);
  const Device device = x.value().device();
  const Shape out{s.n, s.out_h(), s.out_w(), s.c};
  Tensor y = x.value().like(out);
  Tensor index = needs_history({&x}) ? Tensor::empty(out, DType::u8, device) : Tensor();
  ESP_RUN_REAL(y, max_pool_forward(y.data<Real>(), index.data<uint8_t>(), x.value().data<Real>(), s));
  return record({.op = "max_pool2d",
                 .attributes = pool_attributes(s),
                 .inputs = {x},
                 .output = y,
                 .channels = Channels::kept,
                 .backward = [s, index](const Tensor& dy, const Gradients& to) {
                   const auto dx = to.into(0);
                   ESP_RUN_REAL(dy, max_pool_backward(dx.data<Real>(), dy.data<Real>(), index.data<uint8_t>(),
                                                      s, dx.accumulate));
                 }});
}

Variable average_pool2d(const Variable& x, ByAxis k, ByAxis stride, Padding pad, bool ceil_mode,
                        bool count_include_pad) {
  const PoolShape s = pool_shape("average_pool2d", x, k, stride, pad, ceil_mode, count_include_pad);
  Tensor y = x.value().like({s.n, s.out_h(), s.out_w(), s.c});
  ESP_RUN_REAL(y, average_pool_forward(y.data<Real>(), x.value().data<Real>(), s));
  return record({.op = "average_pool2d",
                 .attributes = pool_attributes(s),
                 .inputs = {x},
                 .output = y,
                 .channels = Channels::kept,
                 .backward = [s](const Tensor& dy, const Gradients& to) {
                   const auto dx = to.into(0);
                   ESP_RUN_REAL(dy,
                                average_pool_backward(dx.data<Real>(), dy.data<Real>(), s, dx.accumulate));
                 }});
}

Variable global_average_pool(const Variable& x) {
  ESP_CHECK(x.shape().axes() == 4, "global_average_pool: expects x [N,H,W,C], found ", x.shape());
  const int64_t n = x.shape()[0], pixels = x.shape()[1] * x.shape()[2], c = x.shape()[3];
  Tensor y = x.value().like({n, c});
  ESP_RUN_REAL(y, global_average_pool_forward(y.data<Real>(), x.value().data<Real>(), n, pixels, c));
  return record({.op = "global_average_pool",
                 .attributes = {},
                 .inputs = {x},
                 .output = y,
                 .channels = Channels::kept,
                 .backward = [n, pixels, c](const Tensor& dy, const Gradients& to) {
                   const auto dx = to.into(0);
                   ESP_RUN_REAL(dy, global_average_pool_backward(dx.data<Real>(), dy.data<Real>(), n, pixels,
                                                                 c, dx.accumulate));
                 }});
}

Variable adaptive_average_pool2d(const Variable& x, int64_t h, int64_t w) {
  ESP_CHECK(x.shape().axes() == 4, "adaptive_average_pool2d: expects x [N,H,W,C], found ", x.shape());
  const int64_t n = x.shape()[0], height = x.shape()[1], width = x.shape()[2], c = x.shape()[3];
  ESP_CHECK(h > 0 && w > 0 && height % h == 0 && width % w == 0, "adaptive_average_pool2d: ", h, "x", w,
            " windows do not divide an image of ", height, "x", width);
  const bool whole = h == 1 && w == 1;
  const ByAxis window(height / h, width / w);
  const PoolShape s{n, height, width, c, window, window};
  Tensor y = x.value().like({n, h, w, c});
  if (whole)
    ESP_RUN_REAL(y,
                 global_average_pool_forward(y.data<Real>(), x.value().data<Real>(), n, height * width, c));
  else
    ESP_RUN_REAL(y, average_pool_forward(y.data<Real>(), x.value().data<Real>(), s));
  return record({.op = "adaptive_average_pool2d",
                 .attributes = {{"height", h}, {"width", w}},
                 .inputs = {x},
                 .output = y,
                 .channels = Channels::kept,
                 .backward = [s, whole](const Tensor& dy, const Gradients& to) {
                   const auto dx = to.into(0);
                   if (whole)
                     ESP_RUN_REAL(dy, global_average_pool_backward(dx.data<Real>(), dy.data<Real>(), s.n,
                                                                   s.h * s.w, s.c, dx.accumulate));
                   else
                     ESP_RUN_REAL(dy,
                                  average_pool_backward(dx.data<Real>(), dy.data<Real>(), s, dx.accumulate));
                 }});
}

// What is to know of it beside how it computes: graph/op.h

namespace {

/// What both poolings have.
struct Windows {
  explicit Windows(const OpCall& c)
      : size(c.by_axis("window")),
        stride(c.by_axis("stride")),
        pad(c.by_side("pad")),
        ceil_mode(c.whole("ceil_mode") != 0) {}
  ByAxis size, stride;
  Padding pad;
  bool ceil_mode;
};
bool counts_padding(const OpCall& c) { return c.whole("count_include_pad") != 0; }

PoolShape pool_shape(const KernelContext& op) {
  const Shape& in = op.call.shape("x");
  const Windows by(op.call);
  return {op.pass.batch, in[1], in[2], in[3], by.size, by.stride, by.pad, by.ceil_mode};
}

Calls max_pool_kernels(const KernelContext& op) {
  const PoolShape s = pool_shape(op);
  const Device device = op.pass.device;
  Tensor index =
      op.pass.training ? Tensor::zeros({s.n * s.out_h() * s.out_w() * s.c}, DType::u8, device) : Tensor();
  return there_and_back(
      op, "max_pool", index.defined() ? traffic(index) : 0,
      [=](float* y, const float* x) mutable {
        ESP_RUN(device, max_pool_forward(y, index.data<uint8_t>(), x, s));
      },
      [=](float* dx, const float* dy, bool adds) {
        ESP_RUN(device, max_pool_backward(dx, dy, index.data<uint8_t>(), s, adds));
      });
}

Calls average_pool_kernels(const KernelContext& op) {
  PoolShape s = pool_shape(op);
  s.count_include_pad = counts_padding(op.call);
  const Device device = op.pass.device;
  return there_and_back(
      op, "average_pool", 0,
      [=](float* y, const float* x) { ESP_RUN(device, average_pool_forward(y, x, s)); },
      [=](float* dx, const float* dy, bool adds) {
        ESP_RUN(device, average_pool_backward(dx, dy, s, adds));
      });
}

Calls adaptive_average_pool_kernels(const KernelContext& op) {
  const Shape &in = op.call.shape("x"), &out = op.call.output();
  const bool whole = out[1] == 1 && out[2] == 1;
  const ByAxis window(in[1] / out[1], in[2] / out[2]);
  const PoolShape s{op.pass.batch, in[1], in[2], in[3], window, window};
  const Device device = op.pass.device;
  return there_and_back(
      op, "adaptive_average_pool", 0,
      [=](float* y, const float* x) {
        if (whole)
          ESP_RUN(device, global_average_pool_forward(y, x, s.n, s.h * s.w, s.c));
        else
          ESP_RUN(device, average_pool_forward(y, x, s));
      },
      [=](float* dx, const float* dy, bool adds) {
        if (whole)
          ESP_RUN(device, global_average_pool_backward(dx, dy, s.n, s.h * s.w, s.c, adds));
        else
          ESP_RUN(device, average_pool_backward(dx, dy, s, adds));
      });
}

Calls global_average_pool_kernels(const KernelContext& op) {
  const Shape& in = op.call.shape("x");
  const int64_t n = op.pass.batch, pixels = in[1] * in[2], c = in[3];
  const Device device = op.pass.device;
  return there_and_back(
      op, "global_average_pool", 0,
      [=](float* y, const float* x) { ESP_RUN(device, global_average_pool_forward(y, x, n, pixels, c)); },
      [=](float* dx, const float* dy, bool adds) {
        ESP_RUN(device, global_average_pool_backward(dx, dy, n, pixels, c, adds));
      });
}

}  // namespace

namespace {

/// Of each window the tangent of the pixel that is its first largest. Pixel (k,l) of all windows is what a
/// convolution of each channel with a window that is 1 there, and 0 elsewhere, puts out; which of these is
/// the largest does not move.
Variable tangent_of_max_pool(const OpArguments& x, const OpArguments& dx) {
  const Windows by(x.call);
  const PoolShape s{x("x").shape()[0],
                    x("x").shape()[1],
                    x("x").shape()[2],
                    x("x").shape()[3],
                    by.size,
                    by.stride == 0 ? by.size : by.stride,
                    by.pad,
                    by.ceil_mode};
  const Device device = x("x").value().device();
  const Shape out{s.n, s.out_h(), s.out_w(), s.c};
  Conv2dOptions options{.stride = s.stride, .pad = s.pad, .groups = s.c};
  // What ceil_mode adds lies past the padding.
  options.pad.bottom = std::max(s.pad.bottom, (out[1] - 1) * s.stride.down + s.k.down - s.h - s.pad.top);
  options.pad.right = std::max(s.pad.right, (out[2] - 1) * s.stride.across + s.k.across - s.w - s.pad.left);
  const Tensor largest = x.call.op.run({x.call, {Variable(x("x").value())}}).value().to(Device::cpu);
  Tensor open = Tensor::full(out, 1.0f);  // windows whose first largest has not been met
  Variable moved;
  for (int64_t tap = 0; tap < s.k.down * s.k.across; ++tap) {
    Tensor window = Tensor::zeros({s.c, s.k.down, s.k.across, 1});
    for (int64_t c = 0; c < s.c; ++c) window.f32()[c * s.k.down * s.k.across + tap] = 1.0f;
    const Variable pick(window.to(device));
    const Tensor pixel = conv2d(Variable(x("x").value()), pick, {}, options).value().to(Device::cpu);
    Tensor here = Tensor::zeros(out);
    for (int64_t i = 0; i < out.elements(); ++i)
      if (open.f32()[i] > 0 && pixel.f32()[i] == largest.f32()[i]) here.f32()[i] = 1.0f, open.f32()[i] = 0.0f;
    moved = sum_of(moved, mul(conv2d(dx("x"), pick, {}, options), Variable(here.to(device))));
  }
  return moved;
}

}  // namespace

std::vector<Op> pool_rows() {
  const std::vector<OpAttribute> windows{{"window", int64_t{0}, true, OpAttribute::by_axis},
                                         {"stride", int64_t{0}, true, OpAttribute::by_axis},
                                         {"pad", int64_t{0}, true, OpAttribute::by_side},
                                         {"ceil_mode", int64_t{0}, false}};
  std::vector<OpAttribute> of_means = windows;
  of_means.push_back({"count_include_pad", int64_t{1}, false});
  return {{.name = "max_pool2d",
           .inputs = {{"x"}},
           .attributes = windows,
           .run =
               [](const OpArguments& x) {
                 const Windows by(x.call);
                 return max_pool2d(x("x"), by.size, by.stride, by.pad, by.ceil_mode);
               },
           .tangent = tangent_of_max_pool,
           .homogeneous = in_any_case,
           .constants = [](const ConstantArguments& c) { return c("x"); },
           .kernels = max_pool_kernels},
          {.name = "average_pool2d",
           .inputs = {{"x"}},
           .attributes = of_means,
           .run =
               [](const OpArguments& x) {
                 const Windows by(x.call);
                 return average_pool2d(x("x"), by.size, by.stride, by.pad, by.ceil_mode,
                                       counts_padding(x.call));
               },
           .tangent = run_on_tangents,
           .homogeneous = in_any_case,
           .constants = [](const ConstantArguments& c) { return c("x"); },
           // Padding that counts is zeros.
           .keeps_constants = [](const OpCall& c) { return c.by_side("pad") == 0 || !counts_padding(c); },
           .kernels = average_pool_kernels},
          {.name = "global_average_pool",
           .inputs = {{"x"}},
           .run = [](const OpArguments& x) { return global_average_pool(x("x")); },
           .tangent = run_on_tangents,
           .homogeneous = in_any_case,
           .constants = [](const ConstantArguments& c) { return c("x"); },
           .kernels = global_average_pool_kernels},
          {.name = "adaptive_average_pool2d",
           .inputs = {{"x"}},
           .attributes = {{"height", int64_t{1}}, {"width", int64_t{1}}},
           .run =
               [](const OpArguments& x) {
                 return adaptive_average_pool2d(x("x"), x.call.whole("height"), x.call.whole("width"));
               },
           .tangent = run_on_tangents,
           .homogeneous = in_any_case,
           .constants = [](const ConstantArguments& c) { return c("x"); },
           .kernels = adaptive_average_pool_kernels}};
}

}  // namespace espalier::ops
