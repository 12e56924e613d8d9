// Batch norm: statistics, the normalisation with what follows it, and its gradient, each at the speed of
// memory. Rows of few channels are taken eight at a time, so that what belongs to a channel is loaded once
// for eight numbers; wider ones one by one, so that memory is read in its order. Sums are single precision
// over a stretch of rows, double between stretches and threads.
#include <cmath>

#include "espalier/core/cpu/pieces.h"
#include "espalier/core/cpu/statistics.h"
#include "espalier/core/kernels.h"
#include "espalier/core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "espalier/core/cpu/norm.cpp"
#include <hwy/foreach_target.h>  // first: what follows is compiled once for each instruction set

#include <hwy/highway.h>

#include "espalier/core/cpu/activation-inl.h"
#include "espalier/core/cpu/dispatch.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {
namespace {

constexpr int group = 8;          // rows taken together
constexpr int64_t narrow = 64;    // channels that rows so taken have at most
constexpr int64_t stretch = 128;  // rows summed in single precision: equal numbers all round the same way

/// Calls body(tail, k, count, first): channels from k on of `count` rows, a compile-time constant, from
/// `first` on.
template <class Body>
HWY_INLINE void for_groups(Range rows, int64_t c, const Body& body) {
  int64_t row = rows.begin;
  for (; c <= narrow && row + group <= rows.end; row += group)
    for_vectors(0, c, [&](auto tail, int64_t k) HWY_ATTR {
      body(tail, k, std::integral_constant<int, group>(), row);
    });
  for (; row < rows.end; ++row)
    for_vectors(0, c,
                [&](auto tail, int64_t k) HWY_ATTR { body(tail, k, std::integral_constant<int, 1>(), row); });
}

int parts_of_rows(const NormShape& s) { return parts_for(s.rows, std::max<int64_t>(1, 16384 / s.c)); }

/// The kernels' scratch memory.
struct Workspace {
  cpu::Pieces pieces;
  double* totals;         // [threads][2,C]
  float* sums;            // [threads][2,C]
  float *slope, *offset;  // [C]
  Workspace(const NormShape& s, void* block)
      : pieces(block),
        totals(reinterpret_cast<double*>(pieces.take(4 * threads() * s.c))),
        sums(pieces.take(2 * threads() * s.c)),
        slope(pieces.take(s.c)),
        offset(pieces.take(s.c)) {}
};

/// Two sums over rows for each channel, [2,C], of what add(tail, k, count, first, a, b) adds to the vectors a
/// and b.
template <class Add>
const double* column_sums(const NormShape& s, const Workspace& memory, const Add& add) {
  const int parts = parts_of_rows(s);
  double* const totals = memory.totals;
  parallel_parts(parts, [&](int part) HWY_ATTR {
    double* total = totals + 2 * part * s.c;
    float *a = memory.sums + 2 * part * s.c, *b = a + s.c;
    std::fill_n(total, 2 * s.c, 0.0);
    const Range rows = part_of(s.rows, part, parts);
    for (int64_t begin = rows.begin; begin < rows.end; begin += stretch) {
      std::fill_n(a, 2 * s.c, 0.0f);
      for_groups({begin, std::min(rows.end, begin + stretch)}, s.c,
                 [&](auto tail, int64_t k, auto count, int64_t first) HWY_ATTR {
                   auto of_a = load(tail, a + k, s.c - k), of_b = load(tail, b + k, s.c - k);
                   add(tail, k, count, first, of_a, of_b);
                   store(tail, of_a, a + k, s.c - k);
                   store(tail, of_b, b + k, s.c - k);
                 });
      for (int64_t k = 0; k < 2 * s.c; ++k) total[k] += static_cast<double>(a[k]);
    }
  });
  for (int part = 1; part < parts; ++part)
    for (int64_t k = 0; k < 2 * s.c; ++k) totals[k] += totals[2 * part * s.c + k];
  return totals;
}

void statistics_about(const float* center, const ChannelStatistics& to, const float* x, const NormShape& s,
                      void* scratch) {
  const double* sums = column_sums(
      s, Workspace(s, scratch),
      [=](auto tail, int64_t k, auto count, int64_t first, FloatVector& sum, FloatVector& square) HWY_ATTR {
        const auto middle = load(tail, center + k, s.c - k);
        for (int r = 0; r < count; ++r) {
          const auto departure = hn::Sub(load(tail, x + (first + r) * s.c + k, s.c - k), middle);
          sum = hn::Add(sum, departure);
          square = hn::MulAdd(departure, departure, square);
        }
      });
  const double n = static_cast<double>(s.rows);
  for (int64_t k = 0; k < s.c; ++k) {
    const double shift = sums[k] / n;
    to.mean[k] = static_cast<float>(static_cast<double>(center[k]) + shift);
    to.variance[k] = static_cast<float>(std::max(0.0, sums[s.c + k] / n - shift * shift));
  }
}

void statistics(const ChannelStatistics& to, const float* x, const NormShape& s, void* scratch) {
  const float* center = to.center ? to.center : x;  // any row is a better guess than none
  statistics_about(center, to, x, s, scratch);
  if (cpu::far_from_center({to.mean, to.variance, center}, s.c)) statistics_about(to.mean, to, x, s, scratch);
}

/// scale [C] or 1, shift [C] or 0
template <class Tail>
HWY_INLINE FloatVector channel(Tail tail, const float* values, int64_t k, int64_t c, float otherwise) {
  return values ? load(tail, values + k, c - k) : hn::Set(Floats(), otherwise);
}

void forward(float* y, const float* x, const float* scale, const float* shift, const float* residual,
             Activation activation, const NormShape& s) {
  with(activation, [&](auto f) {
    parallel_for(s.rows, std::max<int64_t>(1, 16384 / s.c), [&](int64_t begin, int64_t end) HWY_ATTR {
      for_groups({begin, end}, s.c, [&](auto tail, int64_t k, auto count, int64_t first) HWY_ATTR {
        const auto factor = channel(tail, scale, k, s.c, 1.0f), offset = channel(tail, shift, k, s.c, 0.0f);
        for (int r = 0; r < count; ++r) {
          const int64_t at = (first + r) * s.c + k;
          auto z = hn::MulAdd(load(tail, x + at, s.c - k), factor, offset);
          if (residual) z = hn::Add(z, load(tail, residual + at, s.c - k));
          store(tail, apply<decltype(f)::value>(z), y + at, s.c - k);
        }
      });
    });
  });
}

/// dz = dy f'(z): from y where that is given, else from z = x scale + shift + residual, by forward's own
/// arithmetic.
template <Activation f, class Tail>
HWY_INLINE FloatVector gradient(Tail tail, const NormBackward& from, FloatVector x, FloatVector scale,
                                FloatVector shift, int64_t at, int64_t left) {
  const auto dy = load(tail, from.dy + at, left);
  if constexpr (f == Activation::none) return dy;
  if (!keeps_input(f) && from.y) return derive<f>(dy, load(tail, from.y + at, left));
  auto z = hn::MulAdd(x, scale, shift);
  if (from.residual) z = hn::Add(z, load(tail, from.residual + at, left));
  return derive<f>(dy, z);
}

// The gradient, through the statistics that a channel's n numbers have of themselves (Ioffe and Szegedy
// 2015). With r = 1 / sqrt(variance + eps), h = (x - mean) r and z = gamma h + beta, dbeta is the sum of dz
// and dgamma that of dz h. Each x_i moves mean and r, and by them every h_j:
//
//   dmean/dx_i = 1 / n
//   dr/dx_i    = -r^3 (x_i - mean) / n = -r^2 h_i / n
//   dh_j/dx_i  = r ([i = j] - 1 / n - h_i h_j / n)
//   dx_i       = sum over j of gamma dz_j dh_j/dx_i = gamma r (dz_i - dbeta / n - h_i dgamma / n)
//
// which is dz without its mean and without its part along h, times gamma r. Running statistics no x_i moves:
// then dx_i = gamma r dz_i. Below, gamma r is `scale`, and the rest is slope x_i + offset.
template <Activation f>
void backward(const NormGradients& to, const NormBackward& from, const NormShape& s, void* scratch) {
  const Workspace memory(s, scratch);
  const double* sums = column_sums(
      s, memory,
      [&](auto tail, int64_t k, auto count, int64_t first, FloatVector& dbeta, FloatVector& dgamma) HWY_ATTR {
        const int64_t left = s.c - k;
        const auto scale = load(tail, from.scale + k, left), shift = load(tail, from.shift + k, left),
                   mean = load(tail, from.mean + k, left);
        for (int r = 0; r < count; ++r) {
          const int64_t at = (first + r) * s.c + k;
          const auto x = load(tail, from.x + at, left);
          const auto dz = gradient<f>(tail, from, x, scale, shift, at, left);
          dbeta = hn::Add(dbeta, dz);
          dgamma = hn::MulAdd(dz, hn::Sub(x, mean), dgamma);
          if (to.dresidual) put(tail, dz, to.dresidual + at, left, to.add_dresidual);
        }
      });
  // dx = scale dz + slope x + offset
  float *const slope = memory.slope, *const offset = memory.offset;
  const double n = static_cast<double>(s.rows);
  for (int64_t k = 0; k < s.c; ++k) {
    const double rstd = static_cast<double>(from.rstd[k]), scale = static_cast<double>(from.scale[k]);
    const double dbeta = sums[k], dgamma = sums[s.c + k] * rstd;
    if (to.dbeta)
      to.dbeta[k] = static_cast<float>(dbeta + (to.add_dbeta ? static_cast<double>(to.dbeta[k]) : 0.0));
    if (to.dgamma)
      to.dgamma[k] = static_cast<float>(dgamma + (to.add_dgamma ? static_cast<double>(to.dgamma[k]) : 0.0));
    const double by_x = from.batch_statistics ? -scale * rstd * dgamma / n : 0.0;
    slope[k] = static_cast<float>(by_x);
    offset[k] = from.batch_statistics
                    ? static_cast<float>(-scale * dbeta / n - by_x * static_cast<double>(from.mean[k]))
                    : 0.0f;
  }
  if (!to.dx) return;
  const bool kept = to.dresidual && !to.add_dresidual;  // dz lies there
  parallel_for(s.rows, std::max<int64_t>(1, 16384 / s.c), [&](int64_t begin, int64_t end) HWY_ATTR {
    for_groups({begin, end}, s.c, [&](auto tail, int64_t k, auto count, int64_t first) HWY_ATTR {
      const int64_t left = s.c - k;
      const auto scale = load(tail, from.scale + k, left), shift = load(tail, from.shift + k, left),
                 by_x = load(tail, slope + k, left), by_one = load(tail, offset + k, left);
      for (int r = 0; r < count; ++r) {
        const int64_t at = (first + r) * s.c + k;
        const auto x = load(tail, from.x + at, left);
        const auto dz =
            kept ? load(tail, to.dresidual + at, left) : gradient<f>(tail, from, x, scale, shift, at, left);
        put(tail, hn::MulAdd(scale, dz, hn::MulAdd(x, by_x, by_one)), to.dx + at, left, to.add_dx);
      }
    });
  });
}

void run_backward(const NormGradients& to, const NormBackward& from, const NormShape& s, void* scratch) {
  switch (from.f) {
    case Activation::none:
      return backward<Activation::none>(to, from, s, scratch);
    case Activation::relu:
      return backward<Activation::relu>(to, from, s, scratch);
    case Activation::relu6:
      return backward<Activation::relu6>(to, from, s, scratch);
    case Activation::silu:
      return backward<Activation::silu>(to, from, s, scratch);
    case Activation::hard_swish:
      return backward<Activation::hard_swish>(to, from, s, scratch);
    case Activation::leaky_relu:
      return backward<Activation::leaky_relu>(to, from, s, scratch);
    default:  // others a norm does not end with: derives_from_input
      return backward<Activation::gelu>(to, from, s, scratch);
  }
}

size_t scratch_bytes(const NormShape& s) { return Workspace(s, nullptr).pieces.bytes(); }

}  // namespace
}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace espalier::cpu {

size_t channel_statistics_scratch(const NormShape& s) { return ESP_DISPATCH(scratch_bytes)(s); }
void channel_statistics(const ChannelStatistics& to, const float* x, const NormShape& s, void* scratch) {
  ESP_DISPATCH(statistics)(to, x, s, scratch);
}

namespace {

void move_running(const RunningStatistics& running, const float* mean, const float* variance, int64_t c) {
  const auto rows = static_cast<double>(running.rows);
  const float momentum = running.momentum, sample = static_cast<float>(rows / (rows - 1));
  for (int64_t k = 0; k < c; ++k) {
    running.mean[k] += momentum * (mean[k] - running.mean[k]);
    running.variance[k] += momentum * (sample * variance[k] - running.variance[k]);
  }
}

}  // namespace

void norm_scale_shift(float* scale, float* shift, float* rstd, const float* mean, const float* variance,
                      const float* gamma, const float* beta, float eps, const RunningStatistics& running,
                      int64_t c) {
  if (running.mean) move_running(running, mean, variance, c);
  for (int64_t k = 0; k < c; ++k) {
    rstd[k] =
        static_cast<float>(1.0 / std::sqrt(static_cast<double>(variance[k]) + static_cast<double>(eps)));
    scale[k] = gamma[k] * rstd[k];
    shift[k] = beta[k] - mean[k] * scale[k];
  }
}

void scale_shift_forward(float* y, const float* x, const float* scale, const float* shift,
                         const float* residual, Activation f, const NormShape& s) {
  ESP_DISPATCH(forward)(y, x, scale, shift, residual, f, s);
}

size_t batch_norm_backward_scratch(const NormShape& s) { return ESP_DISPATCH(scratch_bytes)(s); }
void batch_norm_backward(const NormGradients& to, const NormBackward& from, const NormShape& s,
                         void* scratch) {
  ESP_DISPATCH(run_backward)(to, from, s, scratch);
}

}  // namespace espalier::cpu
#endif
