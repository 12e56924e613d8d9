#include "espalier/graph/ops.h"

#include "espalier/core/cpu/linear/matmul.h"
#include "espalier/graph/ops/families.h"
#include "espalier/graph/ops/kernel_calls.h"
#include "espalier/graph/ops/operand.h"
#include "espalier/graph/ops/scratch.h"
#include "espalier/graph/ops/tangents.h"

namespace espalier::ops {
namespace {

MatmulShape matmul_shape(const Variable& a, const Variable& b, bool a_transposed, bool b_transposed) {
  const Shape &of_a = a.shape(), &of_b = b.shape();
  const bool alike = of_a.axes() >= 3 && of_a.axes() == of_b.axes() && of_a.elements() > 0 &&
                     of_b.elements() > 0 && of_a.with(-1, 1).with(-2, 1) == of_b.with(-1, 1).with(-2, 1);
  ESP_CHECK(alike, "matmul: expects a [N,...,M,K] and b [N,...,K,N], found ", of_a, " and ", of_b);
  check_dtype("matmul", b.value(), a.value());
  const int64_t m = of_a[a_transposed ? -1 : -2], k = of_a[a_transposed ? -2 : -1];
  const int64_t n = of_b[b_transposed ? -2 : -1], k_of_b = of_b[b_transposed ? -1 : -2];
  ESP_CHECK(k == k_of_b, "matmul: a ", of_a, a_transposed ? " transposed" : "", " has ", k, " columns, b ",
            of_b, b_transposed ? " transposed" : "", " has ", k_of_b, " rows");
  return {of_a.elements() / (m * k), m, n, k, a_transposed, b_transposed, a.value().dtype()};
}

/// y = a b, or y += a b
void multiply(Tensor& y, const Tensor& a, const Tensor& b, const MatmulShape& s, bool accumulate) {
  Scratch scratch(ESP_RUN(y.device(), matmul_scratch(s, accumulate)), y.device());
  ESP_RUN_REAL(y, matmul(y.data<Real>(), a.data<Real>(), b.data<Real>(), s, accumulate, scratch.data()));
}

}  // namespace

Variable matmul(const Variable& a, const Variable& b, bool a_transposed, bool b_transposed) {
  const MatmulShape s = matmul_shape(a, b, a_transposed, b_transposed);
  Tensor y = a.value().like(a.shape().with(-2, s.m).with(-1, s.n));
  multiply(y, a.value(), b.value(), s, false);
  return record(
      {.op = "matmul",
       .attributes = {{"a_transposed", int64_t{a_transposed}}, {"b_transposed", int64_t{b_transposed}}},
       .inputs = {a, b},
       .output = y,
       .channels = Channels::whole,
       .backward = [s, a = b.requires_gradient() ? a.value() : Tensor(),  // each for the other's
                    b = a.requires_gradient() ? b.value() : Tensor()](const Tensor& dy, const Gradients& to) {
         const auto [batch, m, n, k, ta, tb, dtype] = s;
         if (to.needed(0)) {
           const auto da = to.into(0);
           if (ta)  // a' [K,M] = b dy'
             multiply(da.gradient, b, dy, {batch, k, m, n, tb, true, dtype}, da.accumulate);
           else
             multiply(da.gradient, dy, b, {batch, m, k, n, false, !tb, dtype}, da.accumulate);
         }
         if (to.needed(1)) {
           const auto db = to.into(1);
           if (tb)  // b' [N,K] = dy' a
             multiply(db.gradient, dy, a, {batch, n, k, m, true, ta, dtype}, db.accumulate);
           else
             multiply(db.gradient, a, dy, {batch, k, n, m, !ta, false, dtype}, db.accumulate);
         }
       }});
}

Variable softmax(const Variable& x) {
  ESP_CHECK(x.shape().axes() >= 1 && x.shape()[-1] > 0, "softmax: expects x [...,C], found ", x.shape());
  const NormShape s = rows_of(x.shape());
  Tensor y = x.value().like(x.shape());
  ESP_RUN_REAL(y, softmax_forward(y.data<Real>(), x.value().data<Real>(), s));
  return record({.op = "softmax",
                 .attributes = {},
                 .inputs = {x},
                 .output = y,
                 .channels = Channels::whole,
                 .backward = [s, y](const Tensor& dy, const Gradients& to) {
                   const auto dx = to.into(0, dy);
                   ESP_RUN_REAL(dy, softmax_backward(dx.data<Real>(), dy.data<Real>(), y.data<Real>(), s,
                                                     dx.accumulate));
                 }});
}

// What is to know of it beside how it computes: graph/op.h

namespace {

bool is_transposed(const OpCall& call, std::string_view input) {
  return call.whole(std::string(input) + "_transposed") != 0;
}

/// The axis that both have, and that is summed over.
int64_t shared_axis(const OpCall& call) { return call.shape("a")[is_transposed(call, "a") ? -2 : -1]; }

int64_t macs_of_matmul(const OpCall& call) { return call.output().row_elements() * shared_axis(call); }

/// y = a b
KernelCall product(const KernelContext& op, const std::string& name, const Tensor& y, const Tensor& a,
                   const Tensor& b, const MatmulShape& s, bool adds) {
  const Device device = op.pass.device;
  return {name, device == Device::cpu ? cpu::matmul_served_by(s) : "",
          macs_of_matmul(op.call) * op.pass.batch, traffic(y, adds ? 2 : 1) + traffic(a) + traffic(b),
          [=, to = like(y), scratch = memory(ESP_RUN(device, matmul_scratch(s, adds)), device)]() mutable {
            ESP_RUN(device, matmul(to.f32(), a.f32(), b.f32(), s, adds, scratch.raw()));
          }};
}

Calls matmul_kernels(const KernelContext& op) {
  const Tensor a = input_of(op, "a", 1), b = input_of(op, "b", 2), y = output_of(op, 3);
  const bool ta = is_transposed(op.call, "a"), tb = is_transposed(op.call, "b");
  const int64_t m = y.shape()[-2], n = y.shape()[-1], k = shared_axis(op.call),
                batch = y.elements() / (m * n);
  Calls calls{product(op, "matmul", y, a, b, {batch, m, n, k, ta, tb}, false)};
  if (op.gradient("a"))
    calls.push_back(product(op, "matmul_backward_a", a, y, b, {batch, m, k, n, false, !tb}, op.add("a")));
  if (op.gradient("b"))
    calls.push_back(product(op, "matmul_backward_b", b, a, y, {batch, k, n, m, !ta, false}, op.add("b")));
  return calls;
}

Calls softmax_kernels(const KernelContext& op) {
  const Tensor x = input_of(op, "x", 1);
  const NormShape s{x.elements() / x.shape()[-1], x.shape()[-1]};
  const Device device = op.pass.device;
  return there_and_back(
      op, "softmax", 0, [=](float* y, const float* from) { ESP_RUN(device, softmax_forward(y, from, s)); },
      [=, y = like(x)](float* dx, const float* dy, bool adds) {
        ESP_RUN(device, softmax_backward(dx, dy, y.f32(), s, adds));
      });
}

}  // namespace

std::vector<Op> attention_rows() {
  return {{.name = "matmul",
           .inputs = {{"a"}, {"b"}},
           .attributes = {{"a_transposed", int64_t{0}}, {"b_transposed", int64_t{0}}},
           .run =
               [](const OpArguments& x) {
                 return matmul(x("a"), x("b"), is_transposed(x.call, "a"), is_transposed(x.call, "b"));
               },
           .tangent =
               [](const OpArguments& x, const OpArguments& dx) {
                 const auto product = [&](const Variable& a, const Variable& b) {
                   if (!a.defined() || !b.defined()) return Variable();
                   return matmul(a, b, is_transposed(x.call, "a"), is_transposed(x.call, "b"));
                 };
                 return sum_of(product(dx("a"), x("b")), product(x("a"), dx("b")));
               },
           .macs = macs_of_matmul,
           .kernels = matmul_kernels},
          {.name = "softmax",
           .inputs = {{"x"}},
           .run = [](const OpArguments& x) { return softmax(x("x")); },
           .kernels = softmax_kernels}};
}

}  // namespace espalier::ops
