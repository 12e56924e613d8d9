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

/// What add and mul work on: b is of a's shape, or one number a channel of an image, or of all.
struct Beside {
  Tensor a, b, y;
  bool by_channel, by_image;
  NormShape rows;
  int64_t n, pixels;

  explicit Beside(const KernelContext& op)
      : a(operand(op, "a", 1)),
        b(operand(op, "b", 2)),
        y(output(op, 3)),
        by_channel(b.shape().axes() < a.shape().axes() && b.shape().axes() == 1),
        by_image(!by_channel && b.elements() != a.elements()),
        rows{a.elements() / a.shape()[-1], a.shape()[-1]},
        n(a.shape()[0]),
        pixels(rows.rows / n) {}
};

KernelCall call_of(const std::string& name, int64_t bytes, std::function<void()> call) {
  return {name, "", 0, bytes, std::move(call)};
}

/// y = a b by channel or a + b by channel: the line of a norm.
KernelCall by_channel_forward(const Beside& s, bool product) {
  return call_of("scale_shift_forward", traffic(s.a, 2), [s, product, y = like(s.y)]() mutable {
    ESP_RUN(s.a.device(),
            scale_shift_forward(y.f32(), s.a.f32(), product ? s.b.f32() : nullptr,
                                product ? nullptr : s.b.f32(), nullptr, Activation::none, s.rows));
  });
}

/// Sums of dy, or of dy a, to b.
KernelCall sum_to_image(const Beside& s, bool product, bool adds) {
  return call_of("sum_pixels", traffic(s.y, product ? 2 : 1) + traffic(s.b, adds ? 2 : 1),
                 [s, product, adds, db = like(s.b)]() mutable {
                   ESP_RUN(s.a.device(), sum_pixels(db.f32(), s.y.f32(), product ? s.a.f32() : nullptr, s.n,
                                                    s.pixels, s.rows.c, adds));
                 });
}

/// The gradient of what is added is that of the sum, unless it stands beside more.
Calls add_kernels(const KernelContext& op) {
  const Beside s(op);
  const Device device = s.a.device();
  Calls calls;
  if (s.by_channel)
    calls.push_back(by_channel_forward(s, false));
  else
    calls.push_back(
        call_of(s.by_image ? "add_to_pixels" : "add", traffic(s.a, 2) + traffic(s.b),
                [s, device, y = like(s.y)]() mutable {
                  if (s.by_image)
                    ESP_RUN(device, add_to_pixels(y.f32(), s.a.f32(), s.b.f32(), s.n, s.pixels, s.rows.c));
                  else
                    ESP_RUN(device, add(y.f32(), s.a.f32(), s.b.f32(), y.elements()));
                }));
  const auto add_gradient = [&] {  // to one that is there already
    calls.push_back(call_of("add", traffic(s.y, 3), [s, device, dx = like(s.y)]() mutable {
      ESP_RUN(device, add(dx.f32(), dx.f32(), s.y.f32(), s.y.elements()));
    }));
  };
  if (op.gradient("a") && op.add("a")) add_gradient();
  if (!op.gradient("b")) return calls;
  if (!s.by_image && !s.by_channel && op.add("b")) add_gradient();
  if (s.by_image) calls.push_back(sum_to_image(s, false, op.add("b")));
  if (s.by_channel)
    calls.push_back(call_of("activation_bias_backward", traffic(s.y),
                            [s, device, db = like(s.b),
                             scratch = memory(ESP_RUN(device, rows_scratch(s.rows.c)), device)]() mutable {
                              ESP_RUN(device, activation_bias_backward(nullptr, db.f32(), s.y.f32(), nullptr,
                                                                       Activation::none, s.rows.rows,
                                                                       s.rows.c, false, scratch.raw()));
                            }));
  return calls;
}

/// dx = dy other
KernelCall mul_backward(const Beside& s, const Tensor& other, bool adds) {
  const Device device = s.a.device();
  return call_of(s.by_image ? "mul_pixels" : "mul", traffic(s.y, adds ? 3 : 2) + traffic(other),
                 [s, device, other, adds, dx = like(s.y)]() mutable {
                   if (s.by_image)
                     ESP_RUN(device,
                             mul_pixels(dx.f32(), s.y.f32(), other.f32(), s.n, s.pixels, s.rows.c, adds));
                   else
                     ESP_RUN(device, mul(dx.f32(), s.y.f32(), other.f32(), dx.elements(), adds));
                 });
}

Calls mul_kernels(const KernelContext& op) {
  const Beside s(op);
  const bool to_a = op.gradient("a"), to_b = op.gradient("b"), adds_a = op.add("a"), adds_b = op.add("b");
  if (!s.by_channel) {
    KernelCall forward = mul_backward(s, s.b, false);  // the same product, of a
    forward.bytes = traffic(s.a, 2) + traffic(s.b);
    Calls calls{forward};
    if (to_a) calls.push_back(mul_backward(s, s.b, adds_a));
    if (to_b) calls.push_back(s.by_image ? sum_to_image(s, true, adds_b) : mul_backward(s, s.a, adds_b));
    return calls;
  }
  Calls calls{by_channel_forward(s, true)};
  const Device device = s.a.device();
  if (to_a || to_b)
    calls.push_back(call_of(
        "batch_norm_backward", traffic(s.a, to_a ? (adds_a ? 6 : 5) : 2),
        [s, device, to_a, adds_a, dx = like(s.a), dgamma = like(s.b),
         scratch = memory(ESP_RUN(device, batch_norm_backward_scratch(s.rows)), device)]() mutable {
          const float* channels = s.b.f32();
          ESP_RUN(device, batch_norm_backward(
                              NormGradients{
                                  .dx = to_a ? dx.f32() : nullptr, .dgamma = dgamma.f32(), .add_dx = adds_a},
                              NormBackward{.dy = s.y.f32(),
                                           .x = s.a.f32(),
                                           .scale = channels,
                                           .shift = channels,
                                           .mean = channels,
                                           .rstd = channels,
                                           .batch_statistics = false},
                              s.rows, scratch.raw()));
        }));
  return calls;
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
