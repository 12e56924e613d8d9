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

/// An op of a and b, where b may be one number an image and channel or one a channel.
struct Beside {
  explicit Beside(const KernelContext& op)
      : a(operand(op, "a", 1)),
        b(operand(op, "b", 2)),
        alike(a.shape() == b.shape()),
        by_channel(!alike && b.shape().axes() == 1),
        n(a.shape()[0]),
        c(a.shape()[-1]),
        pixels(a.elements() / (n * c)) {}

  Tensor a, b;
  bool alike, by_channel;
  int64_t n, c, pixels;

  /// y = a scale + shift
  KernelCall scale_shift(bool scales) const {
    return {"scale_shift_forward", "", 0, traffic(a, 2), [=, *this, y = like(a)]() mutable {
              ESP_RUN(a.device(), scale_shift_forward(y.f32(), a.f32(), scales ? b.f32() : nullptr,
                                                      scales ? nullptr : b.f32(), nullptr, Activation::none,
                                                      NormShape{n * pixels, c}));
            }};
  }
  /// db = the sums of dy, or of dy a, over what b stands beside
  KernelCall sum_pixels(bool times_a, bool adds) const {
    return {
        "sum_pixels", "", 0, traffic(a, times_a ? 2 : 1) + traffic(b), [=, *this, db = like(b)]() mutable {
          ESP_RUN(a.device(), sum_pixels(db.f32(), a.f32(), times_a ? a.f32() : nullptr, n, pixels, c, adds));
        }};
  }
};

/// Backward hands the gradient on as it is; where there is one already, it is added.
Calls add_kernels(const KernelContext& op) {
  const Beside s(op);
  const auto add_all = [&] {
    return KernelCall{"add", "", 0, traffic(s.a, 3), [s, y = like(s.a)]() mutable {
                        ESP_RUN(s.a.device(), add(y.f32(), s.a.f32(), s.a.f32(), s.a.elements()));
                      }};
  };
  Calls calls;
  if (s.alike)
    calls.push_back(add_all());
  else if (s.by_channel)
    calls.push_back(s.scale_shift(false));
  else
    calls.push_back({"add_to_pixels", "", 0, traffic(s.a, 2) + traffic(s.b), [s, y = like(s.a)]() mutable {
                       ESP_RUN(s.a.device(),
                               add_to_pixels(y.f32(), s.a.f32(), s.b.f32(), s.n, s.pixels, s.c));
                     }});
  if (op.gradient("a") && op.add("a")) calls.push_back(add_all());
  if (!op.gradient("b")) return calls;
  if (s.by_channel)
    calls.push_back({"activation_bias_backward", "", 0, traffic(s.a),
                     [s, db = like(s.b), adds = op.add("b"),
                      scratch = memory(ESP_RUN(s.a.device(), rows_scratch(s.c)), s.a.device())]() mutable {
                       ESP_RUN(s.a.device(),
                               activation_bias_backward(static_cast<float*>(nullptr), db.f32(), s.a.f32(),
                                                        static_cast<const float*>(nullptr), Activation::none,
                                                        s.n * s.pixels, s.c, adds, scratch.raw()));
                     }});
  else if (!s.alike)
    calls.push_back(s.sum_pixels(false, op.add("b")));
  else if (op.add("b"))
    calls.push_back(add_all());
  return calls;
}

Calls mul_kernels(const KernelContext& op) {
  const Beside s(op);
  const Device device = s.a.device();
  const auto mul_all = [&](bool adds) -> KernelCall {
    if (s.alike)
      return {"mul", "", 0, traffic(s.a, adds ? 4 : 3), [=, y = like(s.a)]() mutable {
                ESP_RUN(device, mul(y.f32(), s.a.f32(), s.b.f32(), s.a.elements(), adds));
              }};
    return {"mul_pixels", "", 0, traffic(s.a, adds ? 3 : 2) + traffic(s.b), [=, y = like(s.a)]() mutable {
              ESP_RUN(device, mul_pixels(y.f32(), s.a.f32(), s.b.f32(), s.n, s.pixels, s.c, adds));
            }};
  };
  if (!s.by_channel) {
    Calls calls{mul_all(false)};
    if (op.gradient("a")) calls.push_back(mul_all(op.add("a")));
    if (op.gradient("b")) calls.push_back(s.alike ? mul_all(op.add("b")) : s.sum_pixels(true, op.add("b")));
    return calls;
  }
  Calls calls{s.scale_shift(true)};
  if (!op.gradient("a") && !op.gradient("b")) return calls;
  const NormShape rows{s.n * s.pixels, s.c};
  calls.push_back({"batch_norm_backward", "", 0, traffic(s.a, 3),
                   [=, da = like(s.a), db = like(s.b),
                    scratch = memory(ESP_RUN(device, batch_norm_backward_scratch(rows)), device)]() mutable {
                     ESP_RUN(device, batch_norm_backward(NormGradients{.dx = da.f32(), .dgamma = db.f32()},
                                                         NormBackward{.dy = s.a.f32(),
                                                                      .x = s.a.f32(),
                                                                      .scale = s.b.f32(),
                                                                      .shift = s.b.f32(),
                                                                      .mean = s.b.f32(),
                                                                      .rstd = s.b.f32(),
                                                                      .batch_statistics = false},
                                                         rows, scratch.raw()));
                   }});
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
