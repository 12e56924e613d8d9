#include "espalier/graph/ops.h"

#include "espalier/autograd/fixed_weights.h"
#include "espalier/core/cpu/conv/conv.h"
#include "espalier/graph/ops/activation_bias.h"
#include "espalier/graph/ops/convolve.h"
#include "espalier/graph/ops/families.h"
#include "espalier/graph/ops/operand.h"
#include "espalier/graph/ops/product_calls.h"
#include "espalier/graph/ops/tangents.h"
#include "espalier/graph/ops/window_attributes.h"

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
                              x = w.requires_gradient() ? x.value() : Tensor(),  // only for dw
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

// What is to know of it beside how it computes: graph/op.h

namespace {

/// The epilogue a convolution takes along, with its operands.
struct Epilogue {
  Tensor scale, shift, residual, mean, variance, center;
  Activation f = Activation::none;

  /// In training a norm after the convolution wants its statistics, in inference it is folded in.
  explicit Epilogue(const KernelContext& op) {
    const Tensor channels = random_numbers(op.pass, {op.call.output()[-1]}, DType::f32, 5);
    if (op.call.has("bias")) shift = channels;
    if (!activates_apart(op)) f = op.call.activation();
    const GraphNode* next = fused_behind(op.call.graph, op.call.node);
    if (!next) return;
    if (op.pass.training) {
      mean = like(channels), variance = like(channels), center = channels;
      return;
    }
    const OpCall norm(op.call.graph, *next, *find_op(next->op));
    scale = channels, shift = channels, f = norm.activation();
    if (norm.has("residual")) residual = input_of(op, norm.input("residual"), 6);
  }
  ConvEpilogue pointers() {
    return {.scale = scale.f32(),
            .shift = shift.f32(),
            .residual = residual.f32(),
            .f = f,
            .statistics = {mean.f32(), variance.f32(), center.f32()}};
  }
};

/// Of x [N,H,W,C]: a depthwise convolution's groups follow its channels, of which some may have been cut.
Conv2dOptions options_of(const OpCall& c, const Shape& x) {
  const int64_t groups = c.whole("groups");
  const Shape& recorded = c.shape("x");
  const bool depthwise = groups > 1 && x.axes() == 4 && recorded.axes() == 4 && groups == recorded[3];
  return {.stride = c.by_axis("stride"),
          .pad = c.by_side("pad"),
          .groups = depthwise ? x[3] : groups,
          .dilation = c.by_axis("dilation")};
}
Conv2dOptions options_of(const OpArguments& x) { return options_of(x.call, x("x").shape()); }

Calls conv2d_kernels(const KernelContext& op) {
  const Tensor x = input_of(op, "x", 1), w = input_of(op, "weight", 2), y = output_of(op, 3);
  const Shape &in = x.shape(), &k = w.shape();
  const Conv2dOptions options = options_of(op.call, in);
  const ConvShape s{.n = op.pass.batch,
                    .h = in[1],
                    .w = in[2],
                    .c = in[3],
                    .o = k[0],
                    .kh = k[1],
                    .kw = k[2],
                    .stride = options.stride,
                    .pad = options.pad,
                    .groups = options.groups,
                    .dilation = options.dilation};
  Epilogue epilogue(op);
  const Device device = op.pass.device;
  const bool adds = op.add("x");
  return calls_of_products(op, y, [&](Direction direction) -> KernelCall {
    const std::string by = device == Device::cpu
                               ? cpu::conv2d_served_by(s, direction, !op.pass.training, epilogue.pointers())
                               : "";
    const int64_t bytes = traffic_of_product(op, direction, x, w, y);
    switch (direction) {
      case Direction::backward_weights:
        return product_call(
            "conv2d_backward_weights", by, bytes, w,
            ESP_RUN(device, conv2d_backward_weights_scratch(s, false)), [=](float* dw, void* scratch) {
              ESP_RUN(device, conv2d_backward_weights(dw, y.f32(), x.f32(), s, false, scratch));
            });
      case Direction::backward_data:
        return product_call("conv2d_backward_data", by, bytes, x,
                            ESP_RUN(device, conv2d_backward_data_scratch(s, adds)),
                            [=](float* dx, void* scratch) {
                              ESP_RUN(device, conv2d_backward_data(dx, y.f32(), w.f32(), s, adds, scratch));
                            });
      default:
        break;
    }
    const size_t prepared_bytes = op.pass.training ? 0 : ESP_RUN(device, conv2d_prepared_bytes(s));
    Tensor prepared = prepared_bytes ? memory(prepared_bytes, device) : Tensor();
    if (prepared.defined()) ESP_RUN(device, conv2d_prepare(prepared.raw(), w.f32(), s));
    return product_call(
        "conv2d_forward", by, bytes, y, ESP_RUN(device, conv2d_forward_scratch(s, epilogue.pointers())),
        [=](float* z, void* scratch) mutable {
          ESP_RUN(device,
                  conv2d_forward(z, x.f32(), w.f32(), prepared.raw(), epilogue.pointers(), s, scratch));
        });
  });
}

}  // namespace

namespace {

/// Of z = x * w + b: x~ * w + x * w~ + b~.
Variable tangent_of_conv2d(const OpArguments& x, const OpArguments& dx) {
  const Conv2dOptions options = options_of(x);
  Variable moved;
  if (dx("x").defined()) moved = conv2d(dx("x"), x("weight"), {}, options);
  if (dx("weight").defined()) moved = sum_of(moved, conv2d(x("x"), dx("weight"), {}, options));
  if (!dx("bias").defined()) return moved;
  return moved.defined() ? add(moved, dx("bias"))
                         : conv2d(x("x"), zeros_like(x("weight")), dx("bias"), options);
}

}  // namespace

std::vector<Op> conv_rows() {
  return {{.name = "conv2d",
           .inputs = {{"x"},
                      {"weight", OpInput::required, Role::weight, true},
                      {.name = "bias", .kind = OpInput::optional, .role = Role::bias, .adds = true}},
           .attributes = {{"stride", int64_t{1}, true, OpAttribute::by_axis},
                          {"pad", int64_t{0}, true, OpAttribute::by_side},
                          {"groups", int64_t{1}},
                          {"activation", std::string()},
                          {"dilation", int64_t{1}, false, OpAttribute::by_axis}},
           .activation = "activation",
           .run =
               [](const OpArguments& x) {
                 return conv2d(x("x"), x("weight"), x("bias"), options_of(x), x.call.activation());
               },
           .fuses = "batch_norm",
           .run_fused =
               [](const OpArguments& x, const OpArguments& norm) {
                 return conv2d_batch_norm(x("x"), x("weight"), x("bias"), options_of(x), norm_of(norm),
                                          norm.call.activation(), norm("residual"));
               },
           .tangent = tangent_of_conv2d,
           .homogeneous = in_any_case,
           .macs = macs_of_positions,
           .constants = [](const ConstantArguments& c) { return c.shift; },
           // With padding it sees zeros at the border instead.
           .takes_constants = [](const OpCall& c) { return c.by_side("pad") == 0 && c.whole("groups") == 1; },
           .kernels = conv2d_kernels}};
}

}  // namespace espalier::ops
