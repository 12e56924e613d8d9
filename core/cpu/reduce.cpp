// Reductions. Each part sums its range in blocks: f32 vectors inside a block, double between blocks, parts in
// order.
#include <algorithm>
#include <cmath>

#include "espalier/core/kernels.h"
#include "espalier/core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "espalier/core/cpu/reduce.cpp"
#include <hwy/foreach_target.h>  // first: what follows is compiled once for each instruction set

#include <hwy/highway.h>

#include "espalier/core/cpu/dispatch.h"
#include "espalier/core/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {

constexpr int64_t grain = 16384, block = 1024;

/// sum of x_i, or of x_i^2, where the mask keeps
template <bool squared>
double reduce(const float* x, const uint8_t* mask, int64_t n, double* partial) {
  const int parts = parts_for(n, grain);
  parallel_parts(parts, [=](int part) {
    const Range range = part_of(n, part, parts);
    double total = 0;
    for (int64_t start = range.begin; start < range.end; start += block) {
      const int64_t end = std::min(start + block, range.end);
      auto sum = hn::Zero(Floats());
      for_vectors(start, end, [&](auto tail, int64_t i) {
        auto v = load(tail, x + i, end - i);
        if (mask) v = hn::IfThenZeroElse(hn::Eq(load_bytes(tail, mask + i, end - i), hn::Zero(Floats())), v);
        sum = squared ? hn::MulAdd(v, v, sum) : hn::Add(sum, v);
      });
      total += hn::GetLane(hn::SumOfLanes(Floats(), sum));
    }
    partial[part] = total;
  });
  double total = 0;
  for (int part = 0; part < parts; ++part) total += partial[part];
  return total;
}

double plain_sum(const float* x, int64_t n, void* scratch) {
  return reduce<false>(x, nullptr, n, static_cast<double*>(scratch));
}
double square_sum(const float* x, const uint8_t* mask, int64_t n, void* scratch) {
  return reduce<true>(x, mask, n, static_cast<double*>(scratch));
}

}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace espalier::cpu {

size_t rows_scratch(int64_t cols) { return sizeof(float) * static_cast<size_t>(threads() * cols); }
size_t reduce_scratch() { return sizeof(double) * static_cast<size_t>(threads()); }

void sum(float* y, const float* x, float factor, int64_t n, void* scratch) {
  *y = static_cast<float>(factor * ESP_DISPATCH(plain_sum)(x, n, scratch));
}
void gradient_square_sum(double* y, const UpdateSpan* spans, int64_t count, void* scratch) {
  double total = 0;
  for (const UpdateSpan* s = spans; s < spans + count; ++s)
    total += ESP_DISPATCH(square_sum)(s->g, s->mask, s->n, scratch);
  *y = total;
}

void first_not_finite(int64_t* y, const float* x, int64_t n) {
  const float* const found = std::find_if(x, x + n, [](float v) { return !std::isfinite(v); });
  *y = found == x + n ? -1 : found - x;
}

}  // namespace espalier::cpu
#endif
