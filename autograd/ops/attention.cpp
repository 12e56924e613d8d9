#include "espalier/autograd/ops.h"
#include "espalier/autograd/ops/operand.h"
#include "espalier/autograd/ops/scratch.h"

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

}  // namespace espalier::ops
