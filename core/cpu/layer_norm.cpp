// Layer norm over rows: each is read from memory once, and written once; the passes between find it in the
// cache. What is summed over rows is in single precision over a stretch of them, in double between stretches
// and threads.
#include <algorithm>
#include <cmath>

#include "espalier/core/cpu/pieces.h"
#include "espalier/core/kernels.h"
#include "espalier/core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "espalier/core/cpu/layer_norm.cpp"
#include <hwy/foreach_target.h>  // first: what follows is compiled once for each instruction set

#include <hwy/highway.h>

#include "espalier/core/cpu/dispatch.h"
#include "espalier/core/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {
namespace {

constexpr int64_t stretch = 128;  // rows

int64_t grain_of_rows(const NormShape& s) { return std::max<int64_t>(1, 8192 / s.c); }

HWY_INLINE float sum_of(FloatVector v) { return hn::GetLane(hn::SumOfLanes(Floats(), v)); }

/// The sum over a row of each(tail, i), with zeros past its end.
template <class Each>
HWY_INLINE float row_sum(int64_t c, const Each& each) {
  auto sum = hn::Zero(Floats());
  for_vectors(0, c, [&](auto tail, int64_t i) HWY_ATTR {
    auto v = each(tail, i);
    if constexpr (decltype(tail)::value)
      v = hn::IfThenElseZero(hn::FirstN(Floats(), static_cast<size_t>(c - i)), v);
    sum = hn::Add(sum, v);
  });
  return sum_of(sum);
}

/// Sums over rows of each part of them, and of a stretch: dgamma, then dbeta.
struct Workspace {
  cpu::Pieces pieces;
  double* totals;  // [threads][2,C]
  float* sums;     // [threads][2,C]
  Workspace(const NormShape& s, void* block)
      : pieces(block),
        totals(reinterpret_cast<double*>(pieces.take(4 * threads() * s.c))),
        sums(pieces.take(2 * threads() * s.c)) {}
};

/// dx of one row, and what it adds to dgamma and dbeta. Derived as batch norm's (norm.cpp), the C numbers of
/// a row in place of the n of a channel; since gamma differs along the row, it goes into dz first:
/// dx = rstd (dz - mean of dz - h mean of dz h), dz = dy gamma, h = (x - mean) rstd.
void backward_row(float* dx, float* dgamma, float* dbeta, const LayerNormBackward& from, int64_t row,
                  int64_t c, bool accumulate) {
  const Floats d;
  const float *dy = from.dy + row * c, *x = from.x + row * c, *gamma = from.gamma;
  const auto mean = hn::Set(d, from.mean[row]), rstd = hn::Set(d, from.rstd[row]);
  const auto normalized = [&](auto tail, int64_t i)
                              HWY_ATTR { return hn::Mul(hn::Sub(load(tail, x + i, c - i), mean), rstd); };
  auto plain = hn::Zero(d), along = hn::Zero(d);
  for_vectors(0, c, [&](auto tail, int64_t i) HWY_ATTR {
    const auto g = load(tail, dy + i, c - i), z = normalized(tail, i);
    if (dgamma) put(tail, hn::Mul(g, z), dgamma + i, c - i, true);
    if (dbeta) put(tail, g, dbeta + i, c - i, true);
    const auto dz = hn::Mul(g, load(tail, gamma + i, c - i));  // 0 past the end
    plain = hn::Add(plain, dz);
    along = hn::MulAdd(dz, z, along);
  });
  if (!dx) return;
  const float part = 1.0f / static_cast<float>(c);
  const auto offset = hn::Set(d, sum_of(plain) * part), slope = hn::Set(d, sum_of(along) * part);
  for_vectors(0, c, [&](auto tail, int64_t i) HWY_ATTR {
    const auto dz = hn::Mul(load(tail, dy + i, c - i), load(tail, gamma + i, c - i));
    const auto rest = hn::NegMulAdd(normalized(tail, i), slope, hn::Sub(dz, offset));
    put(tail, hn::Mul(rest, rstd), dx + row * c + i, c - i, accumulate);
  });
}

void give(float* to, const double* sums, int64_t c, bool accumulate) {
  if (!to) return;
  for (int64_t k = 0; k < c; ++k)
    to[k] = static_cast<float>(sums[k] + (accumulate ? static_cast<double>(to[k]) : 0.0));
}

}  // namespace

void layer_norm_forward(float* y, float* mean, float* rstd, const float* x, const float* gamma,
                        const float* beta, float eps, const NormShape& s) {
  parallel_for(s.rows, grain_of_rows(s), [&](int64_t begin, int64_t end) HWY_ATTR {
    const Floats d;
    const float part = 1.0f / static_cast<float>(s.c);
    for (int64_t row = begin; row < end; ++row) {
      const float* from = x + row * s.c;
      const auto at = [&](auto tail, int64_t i) HWY_ATTR { return load(tail, from + i, s.c - i); };
      const float middle = row_sum(s.c, at) * part;
      const auto center = hn::Set(d, middle);
      const float variance = row_sum(s.c,
                                     [&](auto tail, int64_t i) HWY_ATTR {
                                       const auto departure = hn::Sub(at(tail, i), center);
                                       return hn::Mul(departure, departure);
                                     }) *
                             part;
      mean[row] = middle;
      rstd[row] = 1.0f / std::sqrt(variance + eps);
      const auto factor = hn::Set(d, rstd[row]);
      for_vectors(0, s.c, [&](auto tail, int64_t i) HWY_ATTR {
        const auto z = hn::Mul(hn::Sub(at(tail, i), center), factor);
        store(tail, hn::MulAdd(z, load(tail, gamma + i, s.c - i), load(tail, beta + i, s.c - i)),
              y + row * s.c + i, s.c - i);
      });
    }
  });
}

size_t layer_norm_backward_scratch(const NormShape& s) { return Workspace(s, nullptr).pieces.bytes(); }

void layer_norm_backward(const NormGradients& to, const LayerNormBackward& from, const NormShape& s,
                         void* scratch) {
  const Workspace memory(s, scratch);
  const int parts = parts_for(s.rows, grain_of_rows(s));
  const int64_t c = s.c;
  parallel_parts(parts, [&](int part) {
    double* const total = memory.totals + 2 * part * c;
    float* const sums = memory.sums + 2 * part * c;
    std::fill_n(total, 2 * c, 0.0);
    const Range rows = part_of(s.rows, part, parts);
    for (int64_t begin = rows.begin; begin < rows.end; begin += stretch) {
      std::fill_n(sums, 2 * c, 0.0f);
      for (int64_t row = begin; row < std::min(rows.end, begin + stretch); ++row)
        backward_row(to.dx, to.dgamma ? sums : nullptr, to.dbeta ? sums + c : nullptr, from, row, c,
                     to.add_dx);
      for (int64_t k = 0; k < 2 * c; ++k) total[k] += static_cast<double>(sums[k]);
    }
  });
  for (int part = 1; part < parts; ++part)
    for (int64_t k = 0; k < 2 * c; ++k) memory.totals[k] += memory.totals[2 * part * c + k];
  give(to.dgamma, memory.totals, c, to.add_dgamma);
  give(to.dbeta, memory.totals + c, c, to.add_dbeta);
}

}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace espalier::cpu {

void layer_norm_forward(float* y, float* mean, float* rstd, const float* x, const float* gamma,
                        const float* beta, float eps, const NormShape& s) {
  ESP_DISPATCH(layer_norm_forward)(y, mean, rstd, x, gamma, beta, eps, s);
}
size_t layer_norm_backward_scratch(const NormShape& s) {
  return ESP_DISPATCH(layer_norm_backward_scratch)(s);
}
void layer_norm_backward(const NormGradients& to, const LayerNormBackward& from, const NormShape& s,
                         void* scratch) {
  ESP_DISPATCH(layer_norm_backward)(to, from, s, scratch);
}

}  // namespace espalier::cpu
#endif
