#include "espalier/autograd/ops.h"
#include "espalier/core/cpu/matmul.h"
#include "espalier/graph/ops/families.h"
#include "espalier/graph/ops/operands.h"

namespace espalier::ops {
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
  const Tensor a = operand(op, "a", 1), b = operand(op, "b", 2), y = output(op, 3);
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
  const Tensor x = operand(op, "x", 1);
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
           .macs = macs_of_matmul,
           .kernels = matmul_kernels},
          {.name = "softmax",
           .inputs = {{"x"}},
           .run = [](const OpArguments& x) { return softmax(x("x")); },
           .kernels = softmax_kernels}};
}

}  // namespace espalier::ops
