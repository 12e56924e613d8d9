#include "espalier/autograd/ops.h"
#include "espalier/autograd/ops/operand.h"
#include "espalier/autograd/ops/scratch.h"

namespace espalier::ops {
namespace {

void check_alike(const char* op, const Variable& a, const Variable& b) {
  ESP_CHECK(a.shape() == b.shape(), op, ": shapes differ, ", a.shape(), " and ", b.shape());
  check_dtype(op, b.value(), a.value());
}

/// factor times the sum of all elements: sum and mean
Variable total(std::string_view op, const Variable& x, float factor) {
  const Tensor& from = x.value();
  Tensor y = Tensor::empty({}, DType::f32, from.device());  // whatever x is
  Scratch scratch(ESP_RUN(from.device(), reduce_scratch()), from.device());
  ESP_RUN_REAL(from, sum(y.f32(), from.data<Real>(), factor, from.elements(), scratch.data()));
  return record({.op = op,
                 .attributes = {},
                 .inputs = {x},
                 .output = y,
                 .channels = Channels::reduced,
                 .backward = [factor, n = from.elements()](const Tensor& dy, const Gradients& to) {
                   const auto dx = to.into(0);
                   ESP_RUN_REAL(dx.gradient, broadcast(dx.data<Real>(), dy.f32(), factor, n, dx.accumulate));
                 }});
}

}  // namespace

Variable add(const Variable& a, const Variable& b) {
  check_alike("add", a, b);
  Tensor y = a.value().like(a.shape());
  ESP_RUN_REAL(y, add(y.data<Real>(), a.value().data<Real>(), b.value().data<Real>(), y.elements()));
  return record({.op = "add",
                 .attributes = {},
                 .inputs = {a, b},
                 .output = y,
                 .channels = Channels::tied,
                 .backward = [](const Tensor& dy, const Gradients& to) {
                   for (size_t input : {0, 1})
                     if (to.needed(input)) to.give(input, dy);
                 }});
}

Variable mul(const Variable& a, const Variable& b) {
  check_alike("mul", a, b);
  Tensor y = a.value().like(a.shape());
  ESP_RUN_REAL(y, mul(y.data<Real>(), a.value().data<Real>(), b.value().data<Real>(), y.elements(), false));
  return record({.op = "mul",
                 .attributes = {},
                 .inputs = {a, b},
                 .output = y,
                 .channels = Channels::tied,
                 .backward = [a = a.value(), b = b.value()](const Tensor& dy, const Gradients& to) {
                   for (size_t input : {0, 1}) {
                     if (!to.needed(input)) continue;
                     const auto dx = to.into(input);
                     ESP_RUN_REAL(dy, mul(dx.data<Real>(), dy.data<Real>(), (input ? a : b).data<Real>(),
                                          dy.elements(), dx.accumulate));
                   }
                 }});
}

Variable scale(const Variable& x, float factor) {
  Tensor y = x.value().like(x.shape());
  ESP_RUN_REAL(y, scale(y.data<Real>(), x.value().data<Real>(), factor, y.elements(), false));
  return record({.op = "scale",
                 .attributes = {{"factor", static_cast<double>(factor)}},
                 .inputs = {x},
                 .output = y,
                 .channels = Channels::kept,
                 .backward = [factor](const Tensor& dy, const Gradients& to) {
                   const auto dx = to.into(0);
                   ESP_RUN_REAL(
                       dy, scale(dx.data<Real>(), dy.data<Real>(), factor, dy.elements(), dx.accumulate));
                 }});
}

Variable sum(const Variable& x) { return total("sum", x, 1.0f); }

Variable mean(const Variable& x) {
  ESP_CHECK(x.value().elements() > 0, "mean: no elements");
  return total("mean", x, 1.0f / static_cast<float>(x.value().elements()));
}

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

}  // namespace espalier::ops
