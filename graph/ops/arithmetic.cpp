#include "espalier/autograd/ops.h"
#include "espalier/autograd/random_pass.h"
#include "espalier/graph/ops/families.h"
#include "espalier/graph/ops/operands.h"

namespace espalier::ops {
namespace {

Constants constants_of_add(const ConstantArguments& c) {
  Constants constants = c("a");
  add_constants(constants, c("b"));
  return constants;
}

/// Backward hands the gradient on as it is; where there is one already, it is added.
Calls add_kernels(const KernelContext& op) {
  const Tensor a = operand(op, "a", 1), b = operand(op, "b", 2);
  const auto call = [&] {
    return KernelCall{"add", "", 0, traffic(a, 3), [=, y = like(a)]() mutable {
                        ESP_RUN(a.device(), add(y.f32(), a.f32(), b.f32(), a.elements()));
                      }};
  };
  Calls calls{call()};
  for (const char* input : {"a", "b"})
    if (op.gradient(input) && op.add(input)) calls.push_back(call());
  return calls;
}

Calls mul_kernels(const KernelContext& op) {
  const Tensor a = operand(op, "a", 1), b = operand(op, "b", 2);
  const auto call = [&](bool adds) {
    return KernelCall{"mul", "", 0, traffic(a, adds ? 4 : 3), [=, y = like(a)]() mutable {
                        ESP_RUN(a.device(), mul(y.f32(), a.f32(), b.f32(), a.elements(), adds));
                      }};
  };
  Calls calls{call(false)};
  for (const char* input : {"a", "b"})
    if (op.gradient(input)) calls.push_back(call(op.add(input)));
  return calls;
}

/// A kernel that is its own backward: run(y, x, adds).
template <class Run>
Calls linear_map_kernels(const KernelContext& op, const std::string& name, const Run& run) {
  const Tensor x = operand(op, "x", 1);
  Calls calls{{name, "", 0, traffic(x, 2), [=, y = like(x)]() mutable { run(y.f32(), x.f32(), false); }}};
  const bool adds = op.add("x");
  if (op.gradient("x"))
    calls.push_back({name, "", 0, traffic(x, adds ? 3 : 2),
                     [=, dx = like(x)]() mutable { run(dx.f32(), x.f32(), adds); }});
  return calls;
}

Calls scale_kernels(const KernelContext& op) {
  const Device device = op.pass.device;
  const float factor = op.call.real("factor");
  const int64_t n = operand(op, "x", 1).elements();
  return linear_map_kernels(op, "scale", [=](float* y, const float* x, bool adds) {
    ESP_RUN(device, scale(y, x, factor, n, adds));
  });
}

Calls dropout_kernels(const KernelContext& op) {
  if (!op.pass.training) return {};
  const Device device = op.pass.device;
  const float p = op.call.real("p");
  const int64_t n = operand(op, "x", 1).elements();
  return linear_map_kernels(op, "dropout", [=](float* y, const float* x, bool adds) {
    ESP_RUN(device, dropout(y, x, p, 1, n, adds));
  });
}

/// Of sum and mean.
Calls total_kernels(const KernelContext& op) {
  const Device device = op.pass.device;
  const Tensor x = operand(op, "x", 1), total = Tensor::full({1}, 1.0f, device);
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

/// Where both inputs pass on; a parameter's numbers are not known here.
bool reads_no_parameter(const OpCall& call) { return !call.graph.is_parameter(call.input("b")); }

Constants constants_of_mul(const ConstantArguments& c) {
  Constants constants = c("a");
  for (size_t i = 0; i < constants.size(); ++i)
    if (constants[i]) *constants[i] *= c("b")[i].value();
  return constants;
}

Constants constants_of_scale(const ConstantArguments& c) {
  Constants constants = c("x");
  for (auto& constant : constants)
    if (constant) *constant *= c.call.real("factor");
  return constants;
}

}  // namespace

void add_constants(Constants& sum, const Constants& more) {
  for (size_t i = 0; i < sum.size(); ++i)
    if (sum[i]) *sum[i] += more[i].value();
}

std::vector<Op> arithmetic_rows() {
  return {{.name = "add",
           .inputs = {{"a"}, {"b"}},
           .run = [](const OpArguments& x) { return add(x("a"), x("b")); },
           .constants = constants_of_add,
           .keeps_constants = reads_no_parameter,
           .kernels = add_kernels},
          {.name = "mul",
           .inputs = {{"a"}, {"b"}},
           .run = [](const OpArguments& x) { return mul(x("a"), x("b")); },
           .constants = constants_of_mul,
           .keeps_constants = reads_no_parameter,
           .kernels = mul_kernels},
          {.name = "scale",
           .inputs = {{"x"}},
           .attributes = {{"factor", 1.0}},
           .run = [](const OpArguments& x) { return scale(x("x"), x.call.real("factor")); },
           .constants = constants_of_scale,
           .kernels = scale_kernels},
          {.name = "sum",
           .inputs = {{"x"}},
           .run = [](const OpArguments& x) { return sum(x("x")); },
           .kernels = total_kernels},
          {.name = "mean",
           .inputs = {{"x"}},
           .run = [](const OpArguments& x) { return mean(x("x")); },
           .kernels = total_kernels},
          {.name = "dropout",
           .inputs = {{"x"}},
           .attributes = {{"p", 0.0}},
           .run =
               [](const OpArguments& x) {
                 return dropout(x("x"), x.call.real("p"),
                                x.training ? std::optional(RandomPass::next_key()) : std::nullopt);
               },
           .constants = [](const ConstantArguments& c) { return c("x"); },
           .kernels = dropout_kernels}};
}

}  // namespace espalier::ops
