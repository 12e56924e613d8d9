// Softmax and cross-entropy, or the divergence from a teacher's, at once: the loss, its gradient and the
// label's rank from one read of the logits.
#include <algorithm>
#include <cmath>
#include <limits>

#include "espalier/core/kernels.h"
#include "espalier/core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "espalier/core/cpu/loss.cpp"
#include <hwy/foreach_target.h>  // first: what follows is compiled once for each instruction set

#include <hwy/highway.h>

#include "espalier/core/cpu/dispatch.h"
#include "espalier/core/cpu/softmax-inl.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {

/// z [classes]: one image's logits; dz = (softmax z - target) factor, or null. Returns the loss.
float row_loss(const float* z, float* dz, int64_t label, float smoothing, int64_t classes, float factor) {
  const Floats d;
  const RowSums sums = exponentials(dz, z, classes);
  const float even = smoothing / static_cast<float>(classes);
  if (dz) {
    const auto share = hn::Set(d, factor / sums.total), offset = hn::Set(d, -even * factor);
    for_vectors(0, classes, [&](auto tail, int64_t i) {
      store(tail, hn::MulAdd(load(tail, dz + i, classes - i), share, offset), dz + i, classes - i);
    });
    dz[label] -= (1.0f - smoothing) * factor;
  }
  // Without smoothing the sum of differences tells no more than a NaN: -inf is a valid logit.
  const float mean_below = smoothing > 0.0f || std::isnan(sums.below) ? even * sums.below : 0.0f;
  return std::log(sums.total) - (1.0f - smoothing) * (z[label] - sums.largest) - mean_below;
}

void row_losses(float* loss, float* dlogits, const float* logits, const int32_t* labels, float smoothing,
                int64_t n, int64_t classes) {
  parallel_for(n, std::max<int64_t>(1, 4096 / classes), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      loss[row] = row_loss(logits + row * classes, dlogits ? dlogits + row * classes : nullptr, labels[row],
                           smoothing, classes, 1.0f / static_cast<float>(n));
  });
}

/// z, t [classes]: one image's logits and its teacher's; with q = softmax(z factor) and p = softmax(t
/// factor), dz = (q - p) slope, or null. Returns KL(p || q).
float row_divergence(float* dz, const float* z, const float* t, float factor, int64_t classes, float slope) {
  const Floats d;
  const RowSums student = exponentials(nullptr, z, classes, factor),
                teacher = exponentials(nullptr, t, classes, factor);
  if (std::isnan(student.below) || std::isnan(teacher.below)) return std::numeric_limits<float>::quiet_NaN();
  const auto scale = hn::Set(d, factor), ratio = hn::Set(d, std::log(student.total / teacher.total));
  auto sum = hn::Zero(d);
  for_vectors(0, classes, [&](auto tail, int64_t i) HWY_ATTR {
    const auto scaled = [&](const float* row, const RowSums& sums) HWY_ATTR {
      return hn::Mul(hn::Sub(load_or(tail, row + i, classes - i, sums.largest), hn::Set(d, sums.largest)),
                     scale);
    };
    const auto zs = scaled(z, student), ts = scaled(t, teacher);
    // Divided, not multiplied by an inverse: a product's rounding may be left out of one of the two sides of
    // the difference, which is 0 where z is t.
    const auto q = hn::Div(hn::Exp(d, zs), hn::Set(d, student.total)),
               p = hn::Div(hn::Exp(d, ts), hn::Set(d, teacher.total));
    if (dz) store(tail, hn::Mul(hn::Sub(q, p), hn::Set(d, slope)), dz + i, classes - i);
    // KL = -sum p u with u = log q - log p; as both sum to 1, it is sum (q - p - p u), of which no term is
    // negative, so that nothing cancels where q is near p; there it is p (e^u - 1 - u).
    const auto u = hn::Sub(hn::Sub(zs, ts), ratio);
    const auto near = hn::Mul(p, hn::Sub(hn::Expm1(d, u), u)), far = hn::Sub(hn::Sub(q, p), hn::Mul(p, u));
    auto term = hn::IfThenElse(hn::Le(hn::Abs(u), hn::Set(d, 1.0f)), near, far);
    term = hn::IfThenElse(hn::Eq(p, hn::Zero(d)), q, term);  // 0 log 0 is 0
    if constexpr (decltype(tail)::value)
      term = hn::IfThenElseZero(hn::FirstN(d, static_cast<size_t>(classes - i)), term);
    sum = hn::Add(sum, term);
  });
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

void row_divergences(float* loss, float* dlogits, const float* logits, const float* teacher,
                     float temperature, int64_t n, int64_t classes) {
  parallel_for(n, std::max<int64_t>(1, 2048 / classes), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      loss[row] = temperature * temperature *
                  row_divergence(dlogits ? dlogits + row * classes : nullptr, logits + row * classes,
                                 teacher + row * classes, 1.0f / temperature, classes,
                                 temperature / static_cast<float>(n));
  });
}

}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace espalier::cpu {

namespace {

/// How many classes come before the label's. A NaN beats nothing: the label's rank is then last.
int32_t rank_of(const float* z, int64_t label, int64_t classes) {
  if (std::isnan(z[label])) return static_cast<int32_t>(classes);
  int32_t rank = 0;
  for (int64_t k = 0; k < classes; ++k) rank += z[k] > z[label] || (z[k] == z[label] && k < label);
  return rank;
}

}  // namespace

void softmax_cross_entropy(float* loss, float* dlogits, int32_t* rank, const float* logits,
                           const int32_t* labels, float smoothing, int64_t n, int64_t classes) {
  ESP_DISPATCH(row_losses)(loss, dlogits, logits, labels, smoothing, n, classes);
  if (rank)
    for (int64_t row = 0; row < n; ++row) rank[row] = rank_of(logits + row * classes, labels[row], classes);
}

void softmax_kl_divergence(float* loss, float* dlogits, const float* logits, const float* teacher,
                           float temperature, int64_t n, int64_t classes) {
  ESP_DISPATCH(row_divergences)(loss, dlogits, logits, teacher, temperature, n, classes);
}

void add_to_tally(Tally* tally, const float* loss, const int32_t* rank, int64_t n) {
  tally->loss_sum += static_cast<double>(*loss) * static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) {
    tally->correct += rank[i] == 0;
    tally->in_five += rank[i] < 5;
  }
}

}  // namespace espalier::cpu
#endif
