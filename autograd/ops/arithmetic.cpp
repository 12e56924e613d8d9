#include <optional>

#include "espalier/autograd/ops.h"
#include "espalier/autograd/ops/activation_bias.h"
#include "espalier/autograd/ops/operand.h"
#include "espalier/autograd/ops/scratch.h"

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
