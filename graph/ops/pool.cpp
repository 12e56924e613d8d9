#include "espalier/autograd/ops.h"
#include "espalier/graph/ops/families.h"
#include "espalier/graph/ops/operands.h"

namespace espalier::ops {
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
           .constants = [](const ConstantArguments& c) { return c("x"); },
           // Padding that counts is zeros.
           .keeps_constants = [](const OpCall& c) { return c.by_side("pad") == 0 || !counts_padding(c); },
           .kernels = average_pool_kernels},
          {.name = "global_average_pool",
           .inputs = {{"x"}},
           .run = [](const OpArguments& x) { return global_average_pool(x("x")); },
           .constants = [](const ConstantArguments& c) { return c("x"); },
           .kernels = global_average_pool_kernels},
          {.name = "adaptive_average_pool2d",
           .inputs = {{"x"}},
           .attributes = {{"height", int64_t{1}}, {"width", int64_t{1}}},
           .run =
               [](const OpArguments& x) {
                 return adaptive_average_pool2d(x("x"), x.call.whole("height"), x.call.whole("width"));
               },
           .constants = [](const ConstantArguments& c) { return c("x"); },
           .kernels = adaptive_average_pool_kernels}};
}

}  // namespace espalier::ops
