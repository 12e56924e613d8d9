// Softmax and cross-entropy at once: the loss, its gradient and the label's rank from one read of the logits.
#include <cmath>

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

}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace espalier::cpu {

HWY_EXPORT(row_losses);

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
void add_to_tally(Tally* tally, const float* loss, const int32_t* rank, int64_t n) {
  tally->loss_sum += static_cast<double>(*loss) * static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) {
    tally->correct += rank[i] == 0;
    tally->in_five += rank[i] < 5;
  }
}

}  // namespace espalier::cpu
#endif
