// Optimizer updates: weights, gradients, slots and masks of all parameters, each read and written once.
#include <cmath>

#include "espalier/cuda/map.cuh"
#include "espalier/cuda/spans.cuh"

namespace espalier::cuda {
namespace {

constexpr int64_t most_chunks =
    4096;  // a few for each place on the card, so that all end at about the same time

/// What a rule works on at one place.
struct Place {
  float w, g, slot0, slot1;
  bool keep;  ///< what the mask says
};

// A rule: which arrays it reads and writes, and what it does at one place. The roundings are those of
// core/cpu/update.cpp.

struct Sgd {
  static constexpr bool reads_gradient = true, writes_weight = true, has_slot1 = false;
  float lr, momentum, decay;
  bool nesterov, first;

  __device__ bool reads_slots() const { return !first; }
  __device__ void operator()(Place& p, float scale, bool has_momentum) const {
    const float g = p.keep ? fmaf(p.g, scale, p.w * decay) : 0.0f;
    float direction = g;
    if (has_momentum) {
      p.slot0 = first ? g : fmaf(p.slot0, momentum, g);
      direction = nesterov ? fmaf(p.slot0, momentum, g) : p.slot0;
    }
    p.w = p.keep ? fmaf(-lr, direction, p.w) : 0.0f;
  }
};

struct Adam {
  static constexpr bool reads_gradient = true, writes_weight = true, has_slot1 = true;
  float beta1, beta2, rest1, rest2, eps, rate, root, coupled, shrink;

  __device__ bool reads_slots() const { return true; }
  __device__ void operator()(Place& p, float scale, bool) const {
    const float g = p.keep ? fmaf(p.g, scale, p.w * coupled) : 0.0f;
    p.slot0 = fmaf(p.slot0, beta1, g * rest1);
    p.slot1 = fmaf(p.slot1, beta2, g * g * rest2);
    const float direction = p.slot0 / fmaf(sqrtf(p.slot1), root, eps);
    p.w = p.keep ? fmaf(-rate, direction, p.w * shrink) : 0.0f;
  }
};

struct Ema {
  static constexpr bool reads_gradient = false, writes_weight = false, has_slot1 = false;
  float decay, fresh;

  __device__ bool reads_slots() const { return true; }
  __device__ void operator()(Place& p, float, bool) const { p.slot0 = fmaf(p.w, fresh, p.slot0 * decay); }
};

template <int width, class Rule>
__device__ __forceinline__ void update_at(const UpdateSpan& s, int64_t i, const Rule& rule, float scale) {
  const bool slots = s.slot0 != nullptr;
  Vec<float, width> g = {}, slot0 = {}, slot1 = {};
  Vec<uint8_t, width> mask = {};
  auto w = load<width>(s.w + i);
  if constexpr (Rule::reads_gradient) g = load<width>(s.g + i);
  if (slots && rule.reads_slots()) slot0 = load<width>(s.slot0 + i);
  if constexpr (Rule::has_slot1) slot1 = load<width>(s.slot1 + i);
  if (s.mask) mask = load<width>(s.mask + i);
#pragma unroll
  for (int j = 0; j < width; ++j) {
    Place p{w[j], g[j], slot0[j], slot1[j], !s.mask || mask[j] != 0};
    rule(p, scale, slots);
    w[j] = p.w, slot0[j] = p.slot0, slot1[j] = p.slot1;
  }
  if constexpr (Rule::writes_weight) store(s.w + i, w);
  if (slots) store(s.slot0 + i, slot0);
  if constexpr (Rule::has_slot1) store(s.slot1 + i, slot1);
}

template <class Rule, int capacity>
__global__ void __launch_bounds__(span_threads)
    update_kernel(const __grid_constant__ Spans<capacity> spans, Rule rule, const float* gradient_scale) {
  const auto [s, begin, end] = chunk_of(spans, blockIdx.x);
  const float scale = gradient_scale ? *gradient_scale : 1.0f;
  int64_t next = begin;  // of those that are moved one by one
  if (aligned<4>(s.w, s.g, s.slot0, s.slot1, s.mask)) {
    for (int64_t i = begin + 4 * threadIdx.x; i + 4 <= end; i += span_tile) update_at<4>(s, i, rule, scale);
    next = end - end % 4;
  }
  for (int64_t i = next + threadIdx.x; i < end; i += span_threads) update_at<1>(s, i, rule, scale);
}

template <class Rule>
void update(const UpdateSpan* spans, int64_t count, const Rule& rule, const float* gradient_scale) {
  for_spans(spans, count, most_chunks, [&]<int capacity>(const Spans<capacity>& some, uint32_t chunks) {
    launch(update_kernel<Rule, capacity>, {dim3(chunks), dim3(span_threads)},
           std::tuple(some, rule, gradient_scale));
  });
}

struct Masked {
  __device__ float operator()(int64_t, float w, uint8_t keep) const { return keep ? w : 0.0f; }
};

__global__ void clip_factor_kernel(float* factor, const double* square_sum, double max_norm) {
  const double wanted = max_norm / (sqrt(*square_sum) + 1e-6);
  if (threadIdx.x == 0) *factor = static_cast<float>(wanted < 1.0 ? wanted : 1.0);
}

}  // namespace

/// 12 bytes a weight, 8 more with momentum, 1 more with a mask.
void sgd_update(const UpdateSpan* spans, int64_t count, const SgdStep& step) {
  update(spans, count, Sgd{step.lr, step.momentum, step.weight_decay, step.nesterov, step.first},
         step.gradient_scale);
}

/// 28 bytes a weight, 1 more with a mask.
void adam_update(const UpdateSpan* spans, int64_t count, const AdamStep& step) {
  update(spans, count,
         Adam{.beta1 = static_cast<float>(step.beta1),
              .beta2 = static_cast<float>(step.beta2),
              .rest1 = static_cast<float>(1.0 - step.beta1),
              .rest2 = static_cast<float>(1.0 - step.beta2),
              .eps = step.eps,
              .rate = step.lr / step.correction1,
              .root = 1.0f / std::sqrt(step.correction2),
              .coupled = step.decoupled ? 0.0f : step.weight_decay,
              .shrink = step.decoupled ? 1.0f - step.lr * step.weight_decay : 1.0f},
         step.gradient_scale);
}

/// 12 bytes a weight.
void ema_update(const UpdateSpan* spans, int64_t count, float decay) {
  update(spans, count, Ema{decay, 1.0f - decay}, nullptr);
}

void clip_factor(float* factor, const double* square_sum, double max_norm) {
  launch(clip_factor_kernel, {dim3(1), dim3(warp)}, std::tuple(factor, square_sum, max_norm));
}

/// 9 bytes a weight.
void apply_mask(float* w, const uint8_t* mask, int64_t n) {
  map(w, Masked(), n, false, static_cast<const float*>(w), mask);
}

}  // namespace espalier::cuda
