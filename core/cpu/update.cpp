// Optimizer updates: one pass over weights, gradients, slots and masks, one parallel region for all
// parameters.
#include <algorithm>
#include <cmath>

#include "espalier/core/kernels.h"
#include "espalier/core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "espalier/core/cpu/update.cpp"
#include <hwy/foreach_target.h>  // first: what follows is compiled once for each instruction set

#include <hwy/highway.h>

#include "espalier/core/cpu/dispatch.h"
#include "espalier/core/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {

/// Cuts the spans, laid end to end, into one range a thread and calls body(tail, span, i) for each vector.
template <class Body>
void for_all(const UpdateSpan* spans, int64_t count, const Body& body) {
  int64_t total = 0;
  for (int64_t s = 0; s < count; ++s) total += spans[s].n;
  parallel_for(total, 4096, [=](int64_t begin, int64_t end) {
    int64_t start = 0;  // of the span in the line of all
    for (int64_t s = 0; s < count; start += spans[s].n, ++s) {
      const UpdateSpan span = spans[s];
      const int64_t from = std::max<int64_t>(begin - start, 0), to = std::min(end - start, span.n);
      if (from < to) for_vectors(from, to, [&](auto tail, int64_t i) { body(tail, span, i, to - i); });
    }
  });
}

/// v where the mask keeps, else 0
template <class Tail>
HWY_INLINE FloatVector masked(Tail tail, FloatVector v, const uint8_t* mask, int64_t i, int64_t left) {
  return mask ? hn::IfThenZeroElse(hn::Eq(load_bytes(tail, mask + i, left), hn::Zero(Floats())), v) : v;
}

void sgd_update(const UpdateSpan* spans, int64_t count, const SgdStep& step) {
  const Floats d;
  const auto lr = hn::Set(d, step.lr), momentum = hn::Set(d, step.momentum),
             decay = hn::Set(d, step.weight_decay),
             scale = hn::Set(d, step.gradient_scale ? *step.gradient_scale : 1.0f);
  for_all(spans, count, [=](auto tail, const UpdateSpan& s, int64_t i, int64_t left) HWY_ATTR {
    const auto w = load(tail, s.w + i, left);
    auto g = hn::MulAdd(load(tail, s.g + i, left), scale, hn::Mul(w, decay));
    g = masked(tail, g, s.mask, i, left);
    auto direction = g;
    if (s.slot0) {
      const auto v = step.first ? g : hn::MulAdd(load(tail, s.slot0 + i, left), momentum, g);
      store(tail, v, s.slot0 + i, left);
      direction = step.nesterov ? hn::MulAdd(v, momentum, g) : v;
    }
    store(tail, masked(tail, hn::NegMulAdd(lr, direction, w), s.mask, i, left), s.w + i, left);
  });
}

void adam_update(const UpdateSpan* spans, int64_t count, const AdamStep& step) {
  const Floats d;
  const auto set = [d](double value) { return hn::Set(d, static_cast<float>(value)); };
  const auto beta1 = set(step.beta1), beta2 = set(step.beta2), rest1 = set(1.0 - step.beta1),
             rest2 = set(1.0 - step.beta2), eps = hn::Set(d, step.eps),
             scale = hn::Set(d, step.gradient_scale ? *step.gradient_scale : 1.0f),
             rate = hn::Set(d, step.lr / step.correction1),
             root = hn::Set(d, 1.0f / std::sqrt(step.correction2)),
             coupled = hn::Set(d, step.decoupled ? 0.0f : step.weight_decay),
             shrink = hn::Set(d, step.decoupled ? 1.0f - step.lr * step.weight_decay : 1.0f);
  for_all(spans, count, [=](auto tail, const UpdateSpan& s, int64_t i, int64_t left) HWY_ATTR {
    const auto w = load(tail, s.w + i, left);
    auto g = hn::MulAdd(load(tail, s.g + i, left), scale, hn::Mul(w, coupled));
    g = masked(tail, g, s.mask, i, left);
    const auto m = hn::MulAdd(load(tail, s.slot0 + i, left), beta1, hn::Mul(g, rest1));
    const auto v = hn::MulAdd(load(tail, s.slot1 + i, left), beta2, hn::Mul(hn::Mul(g, g), rest2));
    store(tail, m, s.slot0 + i, left);
    store(tail, v, s.slot1 + i, left);
    const auto direction = hn::Div(m, hn::MulAdd(hn::Sqrt(v), root, eps));
    const auto moved = hn::NegMulAdd(rate, direction, hn::Mul(w, shrink));
    store(tail, masked(tail, moved, s.mask, i, left), s.w + i, left);
  });
}

void ema_update(const UpdateSpan* spans, int64_t count, float decay) {
  const auto kept = hn::Set(Floats(), decay), fresh = hn::Set(Floats(), 1.0f - decay);
  for_all(spans, count, [=](auto tail, const UpdateSpan& s, int64_t i, int64_t left) HWY_ATTR {
    const auto average = hn::Mul(load(tail, s.slot0 + i, left), kept);
    store(tail, hn::MulAdd(load(tail, s.w + i, left), fresh, average), s.slot0 + i, left);
  });
}

void apply_mask(float* w, const uint8_t* mask, int64_t n) {
  parallel_for(n, 8192, [=](int64_t begin, int64_t end) {
    for_vectors(begin, end, [=](auto tail, int64_t i) {
      store(tail, masked(tail, load(tail, w + i, end - i), mask, i, end - i), w + i, end - i);
    });
  });
}

}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace espalier::cpu {

void sgd_update(const UpdateSpan* spans, int64_t count, const SgdStep& step) {
  ESP_DISPATCH(sgd_update)(spans, count, step);
}
void adam_update(const UpdateSpan* spans, int64_t count, const AdamStep& step) {
  ESP_DISPATCH(adam_update)(spans, count, step);
}
void ema_update(const UpdateSpan* spans, int64_t count, float decay) {
  ESP_DISPATCH(ema_update)(spans, count, decay);
}
void clip_factor(float* factor, const double* square_sum, double max_norm) {
  *factor = static_cast<float>(std::min(1.0, max_norm / (std::sqrt(*square_sum) + 1e-6)));
}
void apply_mask(float* w, const uint8_t* mask, int64_t n) { ESP_DISPATCH(apply_mask)(w, mask, n); }

}  // namespace espalier::cpu
#endif
