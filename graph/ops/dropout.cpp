#include "espalier/graph/ops.h"

#include <optional>

#include "espalier/autograd/random_pass.h"
#include "espalier/graph/ops/families.h"
#include "espalier/graph/ops/kernel_calls.h"
#include "espalier/graph/ops/tangents.h"

namespace espalier::ops {

Variable dropout(const Variable& x, float p, std::optional<uint64_t> key) {
  ESP_CHECK(p >= 0.0f && p < 1.0f, "dropout: probability ", p, " is not in [0,1)");
  Tensor y = key ? x.value().like(x.shape()) : x.value().reshape(x.shape());
  if (key) ESP_RUN_REAL(y, dropout(y.data<Real>(), x.value().data<Real>(), p, *key, y.elements(), false));
  return record({.op = "dropout",
                 .attributes = {{"p", static_cast<double>(p)}},
                 .inputs = {x},
                 .output = y,
                 .channels = Channels::kept,
                 .backward = [p, drops = key.has_value(), key = key.value_or(0)](const Tensor& dy,
                                                                                 const Gradients& to) {
                   if (!drops) return to.give(0, dy);
                   const auto dx = to.into(0);
                   ESP_RUN_REAL(
                       dy, dropout(dx.data<Real>(), dy.data<Real>(), p, key, dy.elements(), dx.accumulate));
                 }});
}

// What is to know of it beside how it computes: graph/op.h

namespace {

Calls dropout_kernels(const KernelContext& op) {
  if (!op.pass.training) return {};
  const Device device = op.pass.device;
  const float p = op.call.real("p");
  const int64_t n = input_of(op, "x", 1).elements();
  return linear_map_kernels(op, "dropout", [=](float* y, const float* x, bool adds) {
    ESP_RUN(device, dropout(y, x, p, 1, n, adds));
  });
}

}  // namespace

std::vector<Op> dropout_rows() {
  return {{.name = "dropout",
           .inputs = {{"x"}},
           .attributes = {{"p", 0.0}},
           .run =
               [](const OpArguments& x) {
                 return dropout(x("x"), x.call.real("p"),
                                x.training ? std::optional(RandomPass::next_key()) : std::nullopt);
               },
           .tangent = [](const OpArguments&, const OpArguments& dx) { return dx("x"); },
           .homogeneous = in_any_case,
           .constants = [](const ConstantArguments& c) { return c("x"); },
           .kernels = dropout_kernels}};
}

}  // namespace espalier::ops
