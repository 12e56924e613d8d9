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
  const LinearShape s{op.pass.batch, x.shape()[1], y.shape()[1]};
  const size_t prepared_bytes = op.pass.training ? 0 : ESP_RUN(device, linear_prepared_bytes(s));
  return calls_of_products(op, y, [&](Direction direction) -> KernelCall {
    const std::string by =
        device == Device::cpu ? cpu::linear_served_by(s, direction, prepared_bytes > 0) : "";
    const int64_t bytes = traffic_of_product(op, direction, x, w, y);
    switch (direction) {
      case Direction::backward_weights:
        return {
            "linear_backward_weights", by, 0, bytes,
            [=, dw = like(w),
             scratch = memory(ESP_RUN(device, linear_backward_weights_scratch(s, false)), device)]() mutable {
              ESP_RUN(device, linear_backward_weights(dw.f32(), y.f32(), x.f32(), s, false, scratch.raw()));
            }};
      case Direction::backward_data:
        return {"linear_backward_data", by, 0, bytes,
                [=, adds = op.add("x"), dx = like(x),
                 scratch = memory(ESP_RUN(device, linear_backward_data_scratch(s, op.add("x"))),
                                  device)]() mutable {
                  ESP_RUN(device, linear_backward_data(dx.f32(), y.f32(), w.f32(), s, adds, scratch.raw()));
                }};
      default:
        break;
    }
    Tensor prepared = prepared_bytes ? memory(prepared_bytes, device) : Tensor();
    if (prepared.defined()) ESP_RUN(device, linear_prepare(prepared.raw(), w.f32(), s));
    return {"linear_forward", by, 0, bytes,
            [=, z = like(y),
             scratch = memory(ESP_RUN(device, linear_forward_scratch(s, b.defined())), device)]() mutable {
              ESP_RUN(device, linear_forward(z.f32(), x.f32(), w.f32(), prepared.raw(), b.f32(), f, s,
                                             scratch.raw()));
            }};
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
