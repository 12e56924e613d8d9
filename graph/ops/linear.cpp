#include "espalier/autograd/ops.h"
#include "espalier/core/cpu/gemm.h"
#include "espalier/graph/ops/families.h"
#include "espalier/graph/ops/products.h"

namespace espalier::ops {
namespace {

Calls linear_kernels(const KernelContext& op) {
  const Tensor x = operand(op, "x", 1), w = operand(op, "weight", 2), y = output(op, 3);
  const Tensor b = op.call.has("bias") ? operand(op, "bias", 4) : Tensor();
  const Device device = op.pass.device;
  const Activation f = activates_apart(op) ? Activation::none : op.call.activation();
  const int64_t in = x.shape()[-1];
  const LinearShape s{x.elements() / in, in, y.shape()[-1]};
  const size_t prepared_bytes = op.pass.training ? 0 : ESP_RUN(device, linear_prepared_bytes(s));
  const bool adds = op.add("x");
  return calls_of_products(op, y, [&](Direction direction) -> KernelCall {
    const std::string by =
        device == Device::cpu ? cpu::linear_served_by(s, direction, prepared_bytes > 0) : "";
    const int64_t bytes = traffic_of_product(op, direction, x, w, y);
    switch (direction) {
      case Direction::backward_weights:
        return product_call(
            "linear_backward_weights", by, bytes, w,
            ESP_RUN(device, linear_backward_weights_scratch(s, false)), [=](float* dw, void* scratch) {
              ESP_RUN(device, linear_backward_weights(dw, y.f32(), x.f32(), s, false, scratch));
            });
      case Direction::backward_data:
        return product_call("linear_backward_data", by, bytes, x,
                            ESP_RUN(device, linear_backward_data_scratch(s, adds)),
                            [=](float* dx, void* scratch) {
                              ESP_RUN(device, linear_backward_data(dx, y.f32(), w.f32(), s, adds, scratch));
                            });
      default:
        break;
    }
    Tensor prepared = prepared_bytes ? memory(prepared_bytes, device) : Tensor();
    if (prepared.defined()) ESP_RUN(device, linear_prepare(prepared.raw(), w.f32(), s));
    return product_call(
        "linear_forward", by, bytes, y, ESP_RUN(device, linear_forward_scratch(s, b.defined())),
        [=](float* z, void* scratch) {
          ESP_RUN(device, linear_forward(z, x.f32(), w.f32(), prepared.raw(), b.f32(), f, s, scratch));
        });
  });
}

}  // namespace

std::vector<Op> linear_rows() {
  return {
      {.name = "linear",
       .inputs = {{"x"},
                  {"weight", OpInput::required, Role::weight},
                  {"bias", OpInput::optional, Role::bias}},
       .attributes = {{"activation", std::string()}},
       .activation = "activation",
       .run =
           [](const OpArguments& x) { return linear(x("x"), x("weight"), x("bias"), x.call.activation()); },
       .macs = macs_of_positions,
       .constants = [](const ConstantArguments& c) { return c.shift; },
       .takes_constants = [](const OpCall&) { return true; },
       .kernels = linear_kernels}};
}

}  // namespace espalier::ops
