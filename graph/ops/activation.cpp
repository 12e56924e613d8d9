#include "espalier/graph/ops.h"

#include <algorithm>
#include <limits>

#include "espalier/graph/ops/activation_bias.h"
#include "espalier/graph/ops/families.h"
#include "espalier/graph/ops/product_calls.h"
#include "espalier/graph/ops/tangents.h"

namespace espalier::ops {
namespace {

constexpr float unbounded = std::numeric_limits<float>::infinity();

/// JSON has no infinities: a bound that is none is left out.
Attributes bounds(float low, float high) {
  Attributes made;
  if (low > -unbounded) made.emplace_back("min", double{low});
  if (high < unbounded) made.emplace_back("max", double{high});
  return made;
}

}  // namespace

Variable activation(const Variable& x, Activation f) {
  const Tensor& from = x.value();
  const Tensor y = activated(from, f);
  return record({.op = "activation",
                 .attributes = {{"function", std::string(activation_name(f))}},
                 .inputs = {x},
                 .output = y,
                 .channels = Channels::kept,
                 .backward = [f, saved = keeps_input(f) ? from : y](const Tensor& dy, const Gradients& to) {
                   const auto dx = to.into(0);
                   ESP_RUN_REAL(dy, activation_backward(dx.data<Real>(), dy.data<Real>(), saved.data<Real>(),
                                                        f, dy.elements(), dx.accumulate));
                 }});
}

Variable clip(const Variable& x, float low, float high) {
  ESP_CHECK(low <= high && low < unbounded && high > -unbounded, "clip: the least, ", low,
            ", is not at most the largest, ", high);
  const Tensor& from = x.value();
  Tensor y = from.like(from.shape());
  ESP_RUN_REAL(from, clip_forward(y.data<Real>(), from.data<Real>(), low, high, from.elements()));
  return record({.op = "clip",
                 .attributes = bounds(low, high),
                 .inputs = {x},
                 .output = y,
                 .channels = Channels::kept,
                 .backward = [low, high, from](const Tensor& dy, const Gradients& to) {
                   const auto dx = to.into(0);
                   ESP_RUN_REAL(dy, clip_backward(dx.data<Real>(), dy.data<Real>(), from.data<Real>(), low,
                                                  high, dy.elements(), dx.accumulate));
                 }});
}

// What is to know of it beside how it computes: graph/op.h

namespace {

KernelCall activation_bias_call(const KernelContext& op, const Tensor& dy, Activation f) {
  const bool none = f == Activation::none;
  const int64_t cols = dy.shape()[-1], rows = dy.elements() / cols;
  return {"activation_bias_backward", "", 0, traffic(dy, none ? 1 : 3),
          [=, dx = like(dy), saved = random_numbers(op.pass, dy.shape(), dy.dtype(), 7),
           db = Tensor::empty({cols}, DType::f32, dy.device()),
           scratch = memory(ESP_RUN(dy.device(), rows_scratch(cols)), dy.device())]() mutable {
            ESP_RUN(dy.device(), activation_bias_backward(none ? nullptr : dx.f32(), db.f32(), dy.f32(),
                                                          saved.f32(), f, rows, cols, false, scratch.raw()));
          }};
}

Constants constants_of_clip(const ConstantArguments& c) {
  Constants constants = c("x");
  for (auto& constant : constants)
    if (constant) constant = std::clamp(*constant, c.call.real("min"), c.call.real("max"));
  return constants;
}

/// Whether f is made of straight pieces.
bool has_pieces(Activation f) {
  return f == Activation::relu || f == Activation::leaky_relu || f == Activation::relu6 ||
         f == Activation::hard_sigmoid || f == Activation::none;
}

Variable tangent_of_activation(const OpArguments& x, const OpArguments& dx) {
  const Activation f = x.call.activation();
  ESP_CHECK(has_pieces(f), "activation ", activation_name(f),
            ": its slope moves with its input, and of such there is no tangent yet");
  return scaled_by_slope(x("x"), dx("x"), [&](const Variable& leaf) { return activation(leaf, f); });
}

Variable tangent_of_clip(const OpArguments& x, const OpArguments& dx) {
  return scaled_by_slope(x("x"), dx("x"), [&](const Variable& leaf) {
    return clip(leaf, x.call.real("min"), x.call.real("max"));
  });
}

bool scales_with_input(const OpCall& call) {
  const Activation f = call.activation();
  return f == Activation::relu || f == Activation::leaky_relu || f == Activation::none;
}

Calls clip_kernels(const KernelContext& op) {
  const Tensor x = input_of(op, "x", 1);
  const float low = op.call.real("min"), high = op.call.real("max");
  Calls calls{{"clip_forward", "", 0, traffic(x, 2), [=, y = like(x)]() mutable {
                 ESP_RUN(x.device(), clip_forward(y.f32(), x.f32(), low, high, x.elements()));
               }}};
  const bool adds = op.add("x");
  if (op.gradient("x"))
    calls.push_back({"clip_backward", "", 0, traffic(x, adds ? 4 : 3), [=, dx = like(x)]() mutable {
                       ESP_RUN(x.device(),
                               clip_backward(dx.f32(), x.f32(), x.f32(), low, high, x.elements(), adds));
                     }});
  return calls;
}

Calls activation_kernels(const KernelContext& op) {
  const Activation f = op.call.activation();
  const Tensor x = input_of(op, "x", 1);
  Calls calls{activation_forward_call(x, f)};
  if (op.gradient("x")) calls.push_back(activation_backward_call(op, x, f, op.add("x")));
  return calls;
}

}  // namespace

KernelCall activation_forward_call(const Tensor& x, Activation f) {
  return {"activation_forward", "", 0, traffic(x, 2), [=, y = like(x)]() mutable {
            ESP_RUN(x.device(), activation_forward(y.f32(), x.f32(), f, x.elements()));
          }};
}

KernelCall activation_backward_call(const KernelContext& op, const Tensor& dy, Activation f, bool adds) {
  return {"activation_backward", "", 0, traffic(dy, adds ? 4 : 3),
          [=, dx = like(dy), saved = random_numbers(op.pass, dy.shape(), dy.dtype(), 7)]() mutable {
            ESP_RUN(dy.device(),
                    activation_backward(dx.f32(), dy.f32(), saved.f32(), f, dy.elements(), adds));
          }};
}

void add_activation_and_bias(Calls& calls, const KernelContext& op, const Tensor& y) {
  const Activation f = op.call.activation();
  if (activates_apart(op)) calls.push_back(activation_forward_call(y, f));
  if (!op.pass.training) return;
  if (op.call.has("bias"))
    calls.push_back(activation_bias_call(op, y, f));
  else if (f != Activation::none)
    calls.push_back(activation_backward_call(op, y, f, false));
}

std::vector<Op> activation_rows() {
  return {{.name = "activation",
           .inputs = {{"x"}},
           .attributes = {{"function", std::string()}},
           .activation = "function",
           .run = [](const OpArguments& x) { return activation(x("x"), x.call.activation()); },
           .tangent = tangent_of_activation,
           .homogeneous = scales_with_input,
           .constants = [](const ConstantArguments& c) { return c("x"); },
           .kernels = activation_kernels},
          {.name = "clip",
           .inputs = {{"x"}},
           .attributes = {{"min", -double{unbounded}, false}, {"max", double{unbounded}, false}},
           .run = [](const OpArguments& x) { return clip(x("x"), x.call.real("min"), x.call.real("max")); },
           .tangent = tangent_of_clip,
           .constants = constants_of_clip,
           .kernels = clip_kernels}};
}

}  // namespace espalier::ops
