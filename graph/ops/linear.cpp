#include "espalier/graph/ops.h"

#include "espalier/core/cpu/linear/gemm.h"
#include "espalier/graph/ops/activation_bias.h"
#include "espalier/graph/ops/families.h"
#include "espalier/graph/ops/operand.h"
#include "espalier/graph/ops/product_calls.h"
#include "espalier/graph/ops/tangents.h"

namespace espalier::ops {

Variable linear(const Variable& x, const Variable& w, const Variable& b, Activation f) {
  ESP_CHECK(x.shape().axes() >= 2 && w.shape().axes() == 2,
            "linear: expects x [N,I] or [N,...,I], and w [O,I], found ", x.shape(), " and ", w.shape());
  const int64_t in = x.shape()[-1];
  const LinearShape s{in > 0 ? x.shape().elements() / in : 0, in, w.shape()[0], x.value().dtype()};
  ESP_CHECK(in > 0 && w.shape()[1] == s.in, "linear: input has ", s.in, " features, weight expects ",
            w.shape()[1]);
  ESP_CHECK(!b.defined() || b.shape() == Shape{s.out}, "linear: bias has shape ", b.shape(), ", expected [",
            s.out, "]");
  const Device device = x.value().device();
  const Tensor weight = operand(w.value(), x.value());
  Tensor y = x.value().like(x.shape().with(-1, s.out));
  // A pass of its own where backward needs z as well as f(z).
  const bool apart = keeps_input(f) && needs_history({&x, &w, &b});
  {
    const void* prepared = FixedWeights::prepared(
        w.value(), {s.n}, ESP_RUN(device, linear_prepared_bytes(s)),
        [&](void* made) { ESP_RUN(device, linear_prepare(made, w.value().f32(), s)); });
    Scratch scratch(ESP_RUN(device, linear_forward_scratch(s, b.defined())), device);
    ESP_RUN_REAL(y, linear_forward(y.data<Real>(), x.value().data<Real>(), weight.data<Real>(), prepared,
                                   b.defined() ? b.value().f32() : nullptr, apart ? Activation::none : f, s,
                                   scratch.data()));
  }
  const Tensor z = y;
  if (apart) y = activated(z, f);
  return record({.op = "linear",
                 .attributes = {{"activation", std::string(activation_name(f))}},
                 .inputs = b.defined() ? std::vector{x, w, b} : std::vector{x, w},
                 .output = y,
                 .channels = {Channels::mixed, {1}},
                 .backward = [s, f, saved = f == Activation::none ? Tensor() : z, w = weight,
                              x = w.requires_gradient() ? x.value() : Tensor(),  // only for dw
                              bias = b.defined()](const Tensor& dy, const Gradients& to) {
                   const Device device = dy.device();
                   const Tensor dz = backward_activation_bias(dy, saved, f, to, 2, bias);
                   if (to.needed(1)) {
                     const auto dw = to.into(1);
                     Scratch scratch(ESP_RUN(device, linear_backward_weights_scratch(s, dw.accumulate)),
                                     device);
                     ESP_RUN_REAL(dz, linear_backward_weights(dw.f32(), dz.data<Real>(), x.data<Real>(), s,
                                                              dw.accumulate, scratch.data()));
                   }
                   if (to.needed(0)) {
                     const auto dx = to.into(0);
                     Scratch scratch(ESP_RUN(device, linear_backward_data_scratch(s, dx.accumulate)), device);
                     ESP_RUN_REAL(dz, linear_backward_data(dx.data<Real>(), dz.data<Real>(), w.data<Real>(),
                                                           s, dx.accumulate, scratch.data()));
                   }
                 }});
}

// What is to know of it beside how it computes: graph/op.h

namespace {

Calls linear_kernels(const KernelContext& op) {
  const Tensor x = input_of(op, "x", 1), w = input_of(op, "weight", 2), y = output_of(op, 3);
  const Tensor b = op.call.has("bias") ? input_of(op, "bias", 4) : Tensor();
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

namespace {

/// Of z = x w' + b: x~ w' + x w~' + b~.
Variable tangent_of_linear(const OpArguments& x, const OpArguments& dx) {
  Variable moved;
  if (dx("x").defined()) moved = linear(dx("x"), x("weight"), {});
  if (dx("weight").defined()) moved = sum_of(moved, linear(x("x"), dx("weight"), {}));
  if (!dx("bias").defined()) return moved;
  return moved.defined() ? add(moved, dx("bias")) : linear(x("x"), zeros_like(x("weight")), dx("bias"));
}

}  // namespace

std::vector<Op> linear_rows() {
  return {
      {.name = "linear",
       .inputs = {{"x"},
                  {"weight", OpInput::required, Role::weight},
                  {.name = "bias", .kind = OpInput::optional, .role = Role::bias, .adds = true}},
       .attributes = {{"activation", std::string()}},
       .activation = "activation",
       .run =
           [](const OpArguments& x) { return linear(x("x"), x("weight"), x("bias"), x.call.activation()); },
       .tangent = tangent_of_linear,
       .homogeneous = in_any_case,
       .macs = macs_of_positions,
       .constants = [](const ConstantArguments& c) { return c.shift; },
       .takes_constants = [](const OpCall&) { return true; },
       .kernels = linear_kernels}};
}

}  // namespace espalier::ops
