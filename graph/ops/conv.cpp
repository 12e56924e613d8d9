#include "espalier/core/cpu/conv.h"

#include "espalier/autograd/ops.h"
#include "espalier/graph/ops/families.h"
#include "espalier/graph/ops/products.h"

namespace espalier::ops {
namespace {

/// The epilogue a convolution takes along, with its operands.
struct Epilogue {
  Tensor scale, shift, residual, mean, variance, center;
  Activation f = Activation::none;

  /// In training a norm behind the convolution wants its statistics, in inference it is folded in.
  explicit Epilogue(const KernelContext& op) {
    const Tensor channels = random_numbers(op.pass, {op.call.output()[-1]}, DType::f32, 5);
    if (op.call.has("bias")) shift = channels;
    if (!activates_apart(op)) f = op.call.activation();
    const GraphNode* behind = fused_behind(op.call.graph, op.call.node);
    if (!behind) return;
    if (op.pass.training) {
      mean = like(channels), variance = like(channels), center = channels;
      return;
    }
    const OpCall norm(op.call.graph, *behind, *find_op(behind->op));
    scale = channels, shift = channels, f = norm.activation();
    if (norm.has("residual")) residual = operand(op, norm.input("residual"), 6);
  }
  ConvEpilogue pointers() {
    return {.scale = scale.f32(),
            .shift = shift.f32(),
            .residual = residual.f32(),
            .f = f,
            .statistics = {mean.f32(), variance.f32(), center.f32()}};
  }
};

Conv2dOptions options_of(const OpCall& c) {
  return {.stride = c.by_axis("stride"),
          .pad = c.by_side("pad"),
          .groups = c.whole("groups"),
          .dilation = c.by_axis("dilation")};
}

Calls conv2d_kernels(const KernelContext& op) {
  const Tensor x = operand(op, "x", 1), w = operand(op, "weight", 2), y = output(op, 3);
  const Shape &in = x.shape(), &k = w.shape();
  const Conv2dOptions options = options_of(op.call);
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

std::vector<Op> conv_rows() {
  return {{.name = "conv2d",
           .inputs = {{"x"},
                      {"weight", OpInput::required, Role::weight, true},
                      {"bias", OpInput::optional, Role::bias}},
           .attributes = {{"stride", int64_t{1}, true, OpAttribute::by_axis},
                          {"pad", int64_t{0}, true, OpAttribute::by_side},
                          {"groups", int64_t{1}},
                          {"activation", std::string()},
                          {"dilation", int64_t{1}, false, OpAttribute::by_axis}},
           .activation = "activation",
           .run =
               [](const OpArguments& x) {
                 return conv2d(x("x"), x("weight"), x("bias"), options_of(x.call), x.call.activation());
               },
           .fuses = "batch_norm",
           .run_fused =
               [](const OpArguments& x, const OpArguments& norm) {
                 return conv2d_batch_norm(x("x"), x("weight"), x("bias"), options_of(x.call), norm_of(norm),
                                          norm.call.activation(), norm("residual"));
               },
           .macs = macs_of_positions,
           .constants = [](const ConstantArguments& c) { return c.shift; },
           // With padding it sees zeros at the border instead.
           .takes_constants = [](const OpCall& c) { return c.by_side("pad") == 0 && c.whole("groups") == 1; },
           .kernels = conv2d_kernels}};
}

}  // namespace espalier::ops
