// Softmax and cross-entropy, or the divergence from a teacher's, at once: the loss, its gradient and the
// label's rank. The logits are read from memory once; the further passes find them in the L1 cache.
#include <cmath>

#include "espalier/core/kernels.h"
#include "espalier/cuda/rows.cuh"

namespace espalier::cuda {
namespace {

/// z [classes]: one image's logits; dz = (softmax z - target) factor, or null; rank: 1 number, or null.
template <class Team, class Real>
__device__ __forceinline__ void row_loss(Team team, float* loss, Real* dz, int32_t* rank, const Real* z,
                                         int32_t label, float smoothing, int32_t classes, float factor) {
  const int32_t lane = lane_of_team<Team>();
  float top = -INFINITY;
  for (int32_t k = lane; k < classes; k += Team::size) top = fmaxf(top, z[k]);
  // It is taken off every term: an offset that all logits share cancels before anything is rounded.
  const float largest = team.most(top), labels_own = z[label];
  float sum = 0, below = 0;
  int32_t before = 0;
  for (int32_t k = lane; k < classes; k += Team::size) {
    const float at = z[k], difference = at - largest;
    below += difference;
    sum += expf(difference);
    before += at > labels_own || (at == labels_own && k < label);
  }
  const float total = team.sum(sum), even = smoothing / static_cast<float>(classes);
  if (dz) {
    const float share = factor / total, offset = -even * factor;
    for (int32_t k = lane; k < classes; k += Team::size) {
      const float d = fmaf(expf(z[k] - largest), share, offset);
      dz[k] = k == label ? d - (1.0f - smoothing) * factor : d;
    }
  }
  if (rank) {
    before = team.sum(before);
    // A NaN beats nothing: the label's rank is then last.
    if (lane == 0) *rank = isnan(labels_own) ? classes : before;
  }
  // Without smoothing the differences tell nothing: -inf is a valid logit.
  const float mean_below = smoothing > 0.0f ? even * team.sum(below) : 0.0f;
  if (lane == 0) *loss = logf(total) - (1.0f - smoothing) * (labels_own - largest) - mean_below;
}

template <class Team, class Real>
__global__ void __launch_bounds__(Team::size* Team::rows)
    row_losses_kernel(float* loss, Real* dlogits, int32_t* rank, const Real* logits, const int32_t* labels,
                      float smoothing, int64_t n, int64_t classes) {
  __shared__ float shared[row_block / warp];
  Team team;
  if constexpr (Team::rows == 1) team.shared = shared;
  const int64_t row = row_of_team<Team>();
  if (row < n)  // the same for all of a team
    row_loss(team, loss + row, dlogits ? dlogits + row * classes : nullptr, rank ? rank + row : nullptr,
             logits + row * classes, labels[row], smoothing, static_cast<int32_t>(classes),
             1.0f / static_cast<float>(n));
}

template <class Team, class Real>
void row_losses(float* loss, Real* dlogits, int32_t* rank, const Real* logits, const int32_t* labels,
                float smoothing, int64_t n, int64_t classes) {
  launch(row_losses_kernel<Team, Real>, rows_of_teams<Team>(n),
         std::tuple(loss, dlogits, rank, logits, labels, smoothing, n, classes));
}

/// z, t [classes]: one image's logits and its teacher's; with q = softmax(z / T) and p = softmax(t / T),
/// dz = (q - p) slope, or null. core/cpu/loss.cpp says how the divergence is summed.
template <class Team, class Real>
__device__ __forceinline__ void row_divergence(Team team, float* loss, Real* dz, const Real* z, const Real* t,
                                               float temperature, int32_t classes, float slope) {
  const int32_t lane = lane_of_team<Team>();
  const float factor = 1.0f / temperature;
  float top = -INFINITY, top_of_teacher = -INFINITY;
  for (int32_t k = lane; k < classes; k += Team::size) {
    top = fmaxf(top, z[k]);
    top_of_teacher = fmaxf(top_of_teacher, t[k]);
  }
  const float largest = team.most(top), largest_of_teacher = team.most(top_of_teacher);
  float sum = 0, sum_of_teacher = 0;
  for (int32_t k = lane; k < classes; k += Team::size) {
    const float at = z[k], teachers = t[k];
    sum += expf((at - largest) * factor);
    sum_of_teacher += expf((teachers - largest_of_teacher) * factor);
  }
  const float total = team.sum(sum), total_of_teacher = team.sum(sum_of_teacher),
              ratio = logf(total / total_of_teacher);
  float divergence = 0;
  for (int32_t k = lane; k < classes; k += Team::size) {
    const float at = z[k], teachers = t[k];
    const float zs = (at - largest) * factor, ts = (teachers - largest_of_teacher) * factor;
    const float q = expf(zs) / total, p = expf(ts) / total_of_teacher, u = zs - ts - ratio;
    if (dz) dz[k] = (q - p) * slope;
    const float term = fabsf(u) <= 1.0f ? p * (expm1f(u) - u) : q - p - p * u;
    divergence += p == 0.0f ? q : term;  // 0 log 0 is 0
  }
  divergence = team.sum(divergence);
  if (lane == 0) *loss = temperature * temperature * divergence;
}

template <class Team, class Real>
__global__ void __launch_bounds__(Team::size* Team::rows)
    row_divergences_kernel(float* loss, Real* dlogits, const Real* logits, const Real* teacher,
                           float temperature, int64_t n, int64_t classes) {
  __shared__ float shared[row_block / warp];
  Team team;
  if constexpr (Team::rows == 1) team.shared = shared;
  const int64_t row = row_of_team<Team>();
  if (row < n)  // the same for all of a team
    row_divergence(team, loss + row, dlogits ? dlogits + row * classes : nullptr, logits + row * classes,
                   teacher + row * classes, temperature, static_cast<int32_t>(classes),
                   temperature / static_cast<float>(n));
}

template <class Real>
void row_divergences(float* loss, Real* dlogits, const Real* logits, const Real* teacher, float temperature,
                     int64_t n, int64_t classes) {
  with_team(classes, [&]<class Team>(Team) {
    launch(row_divergences_kernel<Team, Real>, rows_of_teams<Team>(n),
           std::tuple(loss, dlogits, logits, teacher, temperature, n, classes));
  });
}

__global__ void __launch_bounds__(row_block)
    add_to_tally_kernel(Tally* tally, const float* loss, const int32_t* rank, int64_t n) {
  __shared__ int32_t shared[row_block / warp];
  int32_t correct = 0, in_five = 0;
  for (int64_t i = threadIdx.x; i < n; i += row_block) {
    correct += rank[i] == 0;
    in_five += rank[i] < 5;
  }
  correct = block_sum<row_block>(correct, shared);
  in_five = block_sum<row_block>(in_five, shared);
  if (threadIdx.x == 0) {
    tally->loss_sum += static_cast<double>(*loss) * static_cast<double>(n);
    tally->correct += correct;
    tally->in_five += in_five;
  }
}

}  // namespace

void softmax_cross_entropy(float* loss, float* dlogits, int32_t* rank, const float* logits,
                           const int32_t* labels, float smoothing, int64_t n, int64_t classes) {
  (classes <= most_warp_numbers
       ? row_losses<WarpTeam, float>
       : row_losses<BlockTeam, float>)(loss, dlogits, rank, logits, labels, smoothing, n, classes);
}
void softmax_cross_entropy(float* loss, bf16* dlogits, int32_t* rank, const bf16* logits,
                           const int32_t* labels, float smoothing, int64_t n, int64_t classes) {
  (classes <= most_warp_numbers
       ? row_losses<WarpTeam, bf16>
       : row_losses<BlockTeam, bf16>)(loss, dlogits, rank, logits, labels, smoothing, n, classes);
}

void softmax_kl_divergence(float* loss, float* dlogits, const float* logits, const float* teacher,
                           float temperature, int64_t n, int64_t classes) {
  row_divergences(loss, dlogits, logits, teacher, temperature, n, classes);
}
void softmax_kl_divergence(float* loss, bf16* dlogits, const bf16* logits, const bf16* teacher,
                           float temperature, int64_t n, int64_t classes) {
  row_divergences(loss, dlogits, logits, teacher, temperature, n, classes);
}

void add_to_tally(Tally* tally, const float* loss, const int32_t* rank, int64_t n) {
  launch(add_to_tally_kernel, {dim3(1), dim3(row_block)}, std::tuple(tally, loss, rank, n));
}

}  // namespace espalier::cuda
