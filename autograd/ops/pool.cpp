#include "espalier/autograd/ops.h"

#include <algorithm>

#include "espalier/autograd/ops/window_attributes.h"

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

}  // namespace espalier::ops
