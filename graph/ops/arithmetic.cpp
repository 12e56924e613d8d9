#include "espalier/graph/ops.h"

#include <optional>

#include "espalier/graph/ops/activation_bias.h"
#include "espalier/graph/ops/families.h"
#include "espalier/graph/ops/kernel_calls.h"
#include "espalier/graph/ops/operand.h"
#include "espalier/graph/ops/scratch.h"
#include "espalier/graph/ops/tangents.h"

namespace espalier::ops {
namespace {

/// What b is beside a.
enum class Beside {
  alike,    ///< of a's shape
  image,    ///< a [N,H,W,C], b [N,C] or [N,1,1,C]
  channel,  ///< a [...,C], b [C]
};

Beside place_beside(const char* op, const Variable& a, const Variable& b) {
  const Shape &all = a.shape(), &some = b.shape();
  if (all != some && all.axes() > 1 && some == Shape{all[-1]}) {
    ESP_CHECK(b.value().dtype() == DType::f32, op, ": one number a channel is f32, found ",
              dtype_name(b.value().dtype()));
    return Beside::channel;
  }
  check_dtype(op, b.value(), a.value());
  if (all == some) return Beside::alike;
  ESP_CHECK(all.axes() == 4 && (some == Shape{all[0], all[3]} || some == Shape{all[0], 1, 1, all[3]}), op,
            ": shapes differ, ", all, " and ", some);
  return Beside::image;
}

/// n images of `pixels` each.
struct Pixels {
  int64_t n, pixels, c;
  explicit Pixels(const Shape& x) : n(x[0]), pixels(x[1] * x[2]), c(x[3]) {}
};

/// y = a scale + shift by channel; one of them may be left out.
Tensor by_channel(const Tensor& a, const float* scale, const float* shift) {
  Tensor y = a.like(a.shape());
  ESP_RUN_REAL(y, scale_shift_forward(y.data<Real>(), a.data<Real>(), scale, shift, nullptr, Activation::none,
                                      rows_of(a.shape())));
  return y;
}

/// The gradients of a b by channel: a norm's of mean 0 and variance 1, whose scale is b.
void backward_by_channel(const Tensor& dy, const Tensor& a, const Tensor& b, const Gradients& to) {
  const NormShape s = rows_of(a.shape());
  const Tensor zeros = Tensor::full({s.c}, 0.0f, dy.device()), ones = Tensor::full({s.c}, 1.0f, dy.device());
  std::optional<Gradients::Target> da, db;
  if (to.needed(0)) da.emplace(to.into(0));
  if (to.needed(1)) db.emplace(to.into(1));
  Scratch scratch(ESP_RUN(dy.device(), batch_norm_backward_scratch(s)), dy.device());
  ESP_RUN_REAL(dy, batch_norm_backward(NormGradientsOf<Real>{.dx = da ? da->data<Real>() : nullptr,
                                                             .dgamma = db ? db->f32() : nullptr,
                                                             .add_dx = da && da->accumulate,
                                                             .add_dgamma = db && db->accumulate},
                                       NormBackwardOf<Real>{.dy = dy.data<Real>(),
                                                            .x = a.data<Real>(),
                                                            .scale = b.f32(),
                                                            .shift = zeros.f32(),
                                                            .mean = zeros.f32(),
                                                            .rstd = ones.f32(),
                                                            .batch_statistics = false},
                                       s, scratch.data()));
}

}  // namespace

Variable add(const Variable& a, const Variable& b) {
  const Beside beside = place_beside("add", a, b);
  Tensor y;
  if (beside == Beside::channel) {
    y = by_channel(a.value(), nullptr, b.value().f32());
  } else {
    y = a.value().like(a.shape());
    const auto &from = a.value(), &more = b.value();
    if (beside == Beside::alike) {
      ESP_RUN_REAL(y, add(y.data<Real>(), from.data<Real>(), more.data<Real>(), y.elements()));
    } else {
      const Pixels s(a.shape());
      ESP_RUN_REAL(y,
                   add_to_pixels(y.data<Real>(), from.data<Real>(), more.data<Real>(), s.n, s.pixels, s.c));
    }
  }
  return record({.op = "add",
                 .attributes = {},
                 .inputs = {a, b},
                 .output = y,
                 .channels = Channels::tied,
                 .backward = [beside](const Tensor& dy, const Gradients& to) {
                   if (to.needed(0)) to.give(0, dy);
                   if (!to.needed(1)) return;
                   if (beside == Beside::alike) return to.give(1, dy);
                   const auto db = to.into(1);
                   if (beside == Beside::channel) return sum_rows(db, dy, dy.shape()[-1]);
                   const Pixels s(dy.shape());
                   ESP_RUN_REAL(
                       dy, sum_pixels(db.data<Real>(), dy.data<Real>(), static_cast<const Real*>(nullptr),
                                      s.n, s.pixels, s.c, db.accumulate));
                 }});
}

Variable mul(const Variable& a, const Variable& b) {
  const Beside beside = place_beside("mul", a, b);
  Tensor y;
  if (beside == Beside::channel) {
    y = by_channel(a.value(), b.value().f32(), nullptr);
  } else {
    y = a.value().like(a.shape());
    const auto &from = a.value(), &by = b.value();
    if (beside == Beside::alike) {
      ESP_RUN_REAL(y, mul(y.data<Real>(), from.data<Real>(), by.data<Real>(), y.elements(), false));
    } else {
      const Pixels s(a.shape());
      ESP_RUN_REAL(y,
                   mul_pixels(y.data<Real>(), from.data<Real>(), by.data<Real>(), s.n, s.pixels, s.c, false));
    }
  }
  return record({.op = "mul",
                 .attributes = {},
                 .inputs = {a, b},
                 .output = y,
                 .channels = Channels::tied,
                 .backward = [beside, a = a.value(), b = b.value()](const Tensor& dy, const Gradients& to) {
                   if (beside == Beside::channel) return backward_by_channel(dy, a, b, to);
                   for (size_t input : {0, 1}) {
                     if (!to.needed(input)) continue;
                     const auto dx = to.into(input);
                     const Tensor& other = input ? a : b;
                     if (beside == Beside::alike) {
                       ESP_RUN_REAL(dy, mul(dx.data<Real>(), dy.data<Real>(), other.data<Real>(),
                                            dy.elements(), dx.accumulate));
                       continue;
                     }
                     const Pixels s(dy.shape());
                     if (input == 0)
                       ESP_RUN_REAL(dy, mul_pixels(dx.data<Real>(), dy.data<Real>(), other.data<Real>(), s.n,
                                                   s.pixels, s.c, dx.accumulate));
                     else
                       ESP_RUN_REAL(dy, sum_pixels(dx.data<Real>(), dy.data<Real>(), other.data<Real>(), s.n,
                                                   s.pixels, s.c, dx.accumulate));
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

// What is to know of it beside how it computes: graph/op.h

namespace {

Constants constants_of_add(const ConstantArguments& c) {
  Constants constants = c("a");
  add_constants(constants, c("b"));
  return constants;
}

Calls scale_kernels(const KernelContext& op) {
  const Device device = op.pass.device;
  const float factor = op.call.real("factor");
  const int64_t n = input_of(op, "x", 1).elements();
  return linear_map_kernels(op, "scale", [=](float* y, const float* x, bool adds) {
    ESP_RUN(device, scale(y, x, factor, n, adds));
  });
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
struct BesideOperands {
  Tensor a, b, y;
  bool by_channel, by_image;
  NormShape rows;
  int64_t n, pixels;

  explicit BesideOperands(const KernelContext& op)
      : a(input_of(op, "a", 1)),
        b(input_of(op, "b", 2)),
        y(output_of(op, 3)),
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
KernelCall by_channel_forward(const BesideOperands& s, bool product) {
  return call_of("scale_shift_forward", traffic(s.a, 2), [s, product, y = like(s.y)]() mutable {
    ESP_RUN(s.a.device(),
            scale_shift_forward(y.f32(), s.a.f32(), product ? s.b.f32() : nullptr,
                                product ? nullptr : s.b.f32(), nullptr, Activation::none, s.rows));
  });
}

/// Sums of dy, or of dy a, to b.
KernelCall sum_to_image(const BesideOperands& s, bool product, bool adds) {
  return call_of("sum_pixels", traffic(s.y, product ? 2 : 1) + traffic(s.b, adds ? 2 : 1),
                 [s, product, adds, db = like(s.b)]() mutable {
                   ESP_RUN(s.a.device(), sum_pixels(db.f32(), s.y.f32(), product ? s.a.f32() : nullptr, s.n,
                                                    s.pixels, s.rows.c, adds));
                 });
}

/// The gradient of what is added is that of the sum, unless it stands beside more.
Calls add_kernels(const KernelContext& op) {
  const BesideOperands s(op);
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
KernelCall mul_backward(const BesideOperands& s, const Tensor& other, bool adds) {
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
  const BesideOperands s(op);
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
           .tangent = run_on_tangents,
           .homogeneous = in_any_case,
           .constants = constants_of_add,
           .keeps_constants = reads_no_parameter,
           .kernels = add_kernels},
          {.name = "mul",
           .inputs = {{"a"}, {"b"}},
           .run = [](const OpArguments& x) { return mul(x("a"), x("b")); },
           .tangent =
               [](const OpArguments& x, const OpArguments& dx) {
                 return sum_of(dx("a").defined() ? mul(dx("a"), x("b")) : Variable(),
                               dx("b").defined() ? mul(x("a"), dx("b")) : Variable());
               },
           .constants = constants_of_mul,
           .keeps_constants = reads_no_parameter,
           .kernels = mul_kernels},
          {.name = "scale",
           .inputs = {{"x"}},
           .attributes = {{"factor", 1.0}},
           .run = [](const OpArguments& x) { return scale(x("x"), x.call.real("factor")); },
           .tangent = run_on_tangents,
           .homogeneous = in_any_case,
           .constants = constants_of_scale,
           .kernels = scale_kernels}};
}

}  // namespace espalier::ops
