#include "espalier/graph/ops.h"
#include "espalier/graph/ops/families.h"
#include "espalier/graph/ops/kernel_calls.h"
#include "espalier/graph/ops/scratch.h"
#include "espalier/graph/ops/tangents.h"

namespace espalier::ops {
namespace {

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

Variable sum(const Variable& x) { return total("sum", x, 1.0f); }

Variable mean(const Variable& x) {
  ESP_CHECK(x.value().elements() > 0, "mean: no elements");
  return total("mean", x, 1.0f / static_cast<float>(x.value().elements()));
}

// What is to know of it beside how it computes: graph/op.h

namespace {

/// Of sum and mean.
Calls total_kernels(const KernelContext& op) {
  const Device device = op.pass.device;
  const Tensor x = input_of(op, "x", 1), total = Tensor::full({1}, 1.0f, device);
  Calls calls{{"sum", "", 0, traffic(x),
               [=, y = like(total), scratch = memory(ESP_RUN(device, reduce_scratch()), device)]() mutable {
                 ESP_RUN(device, sum(y.f32(), x.f32(), 1.0f, x.elements(), scratch.raw()));
               }}};
  const bool adds = op.add("x");
  if (op.gradient("x"))
    calls.push_back({"broadcast", "", 0, traffic(x, adds ? 2 : 1), [=, dx = like(x)]() mutable {
                       ESP_RUN(device, broadcast(dx.f32(), total.f32(), 1.0f, x.elements(), adds));
                     }});
  return calls;
}

}  // namespace

std::vector<Op> reduce_rows() {
  return {{.name = "sum",
           .inputs = {{"x"}},
           .run = [](const OpArguments& x) { return sum(x("x")); },
           .tangent = run_on_tangents,
           .homogeneous = in_any_case,
           .kernels = total_kernels},
          {.name = "mean",
           .inputs = {{"x"}},
           .run = [](const OpArguments& x) { return mean(x("x")); },
           .tangent = run_on_tangents,
           .homogeneous = in_any_case,
           .kernels = total_kernels}};
}

}  // namespace espalier::ops
