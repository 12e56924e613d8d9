#include "espalier/autograd/ops.h"

namespace espalier::ops {
namespace {

PoolShape pool_shape(const char* op, const Variable& x, int64_t k, int64_t stride, int64_t pad) {
  ESP_CHECK(x.shape().axes() == 4, op, ": expects x [N,H,W,C], found ", x.shape());
  const PoolShape s{x.shape()[0], x.shape()[1], x.shape()[2], x.shape()[3], k, stride ? stride : k, pad};
  ESP_CHECK(k > 0 && k < 16 && s.stride > 0 && pad >= 0 && 2 * pad <= k, op, ": window ", k, ", stride ",
            s.stride, ", padding ", pad, ": expected a window of 1 to 15 and padding of at most half of it");
  ESP_CHECK(s.h + 2 * pad >= k && s.w + 2 * pad >= k, op, ": a window of ", k, "x", k,
            " does not fit an image of ", s.h, "x", s.w);
  return s;
}

Attributes pool_attributes(const PoolShape& s) {
  return {{"window", s.k}, {"stride", s.stride}, {"pad", s.pad}};
}

}  // namespace

Variable max_pool2d(const Variable& x, int64_t k, int64_t stride, int64_t pad) {
  const PoolShape s = pool_shape("max_pool2d", x, k, stride, pad);
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

Variable average_pool2d(const Variable& x, int64_t k, int64_t stride, int64_t pad) {
  const PoolShape s = pool_shape("average_pool2d", x, k, stride, pad);
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
  ESP_CHECK(whole || height / h == width / w, "adaptive_average_pool2d: windows of ", height / h, "x",
            width / w, " are not square");
  const PoolShape s{n, height, width, c, height / h, height / h};
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
