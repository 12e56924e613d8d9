// Batch norm: statistics, the normalisation with what follows it, and its gradient, each at the speed of
// memory (columns.cuh has the layout). Bytes that a pass moves stand beside its launch; what is summed over
// rows is small beside them.
//
// A thread has 4 channels of bf16, too: 8 bytes a load, but with 4 rows at once by 1024 threads still more on
// their way to a multiprocessor (32 KB) than the memory's latency takes (18 KB on an H100), and registers as
// for f32.
//
// Passes that sum go up x, passes that write y or dx go down it: each finds in the level 2 cache (50 MB on
// an H100) what the one before it touched last.
#include "espalier/cuda/norm.h"

#include "espalier/cuda/activation.cuh"
#include "espalier/cuda/columns.cuh"

namespace espalier::cuda {
namespace {

/// Rows of n channels that a thread loads before it uses the first: what is in flight fills the memory's
/// latency. Fewer where two or three tensors are read, for the sake of registers.
constexpr int rows_at_once(int n) { return n == 4 ? 4 : 8; }
constexpr int rows_moved = 4;
constexpr int rows_of_many(int n) { return n == 4 ? 2 : 4; }

/// Blocks that a multiprocessor holds at once, by registers. Passes that sum have as many blocks as 132
/// multiprocessors (H100, H200) hold, for few partial results; passes that only move have more.
constexpr int statistics_blocks = 4, backward_blocks = 3;
constexpr int64_t multiprocessors_meant = 132, blocks_that_move = 8 * multiprocessors_meant;

/// Of numbers seen so far, in n channels: how many, their mean, and the sum of squares of what they depart
/// from it. Unlike sums of squares about a guess, they stay exact however bad the guess was.
template <int n>
struct Moments {
  float count = 0, mean[n] = {}, square[n] = {};

  /// Merges rows values (Chan, Golub and LeVeque, 1979); what is not valid is 0 and left out. The first is
  /// valid.
  template <int rows>
  __device__ __forceinline__ void add(const Vec<float, n> (&values)[rows], const bool (&valid)[rows]) {
    float fresh = 0;
#pragma unroll
    for (int u = 0; u < rows; ++u) fresh += valid[u] ? 1.0f : 0.0f;
    const float before = count, part = 1.0f / fresh;
    count += fresh;
    const float share = fresh / count;
#pragma unroll
    for (int i = 0; i < n; ++i) {
      float sum = 0, scatter = 0;
#pragma unroll
      for (int u = 0; u < rows; ++u) sum += values[u][i];
      const float middle = sum * part;
#pragma unroll
      for (int u = 0; u < rows; ++u) {
        const float departure = valid[u] ? values[u][i] - middle : 0.0f;
        scatter = fmaf(departure, departure, scatter);
      }
      const float apart = middle - mean[i];
      mean[i] = fmaf(apart, share, mean[i]);
      square[i] += fmaf(apart * apart, before * share, scatter);
    }
  }

  /// The sums of the numbers and of their squares. Double precision holds both beside each other.
  __device__ ColumnSums<n> sums() const {
    ColumnSums<n> to;
    const double rows = static_cast<double>(count);
#pragma unroll
    for (int i = 0; i < n; ++i) {
      const double middle = static_cast<double>(mean[i]);
      to.a[i] = rows * middle;
      to.b[i] = static_cast<double>(square[i]) + rows * middle * middle;
    }
    return to;
  }
};

/// z = x scale + shift + residual, and what comes of it; null: left out.
template <class Real>
struct Line {
  const float *scale, *shift;
  const Real* residual;
};

/// Statistics of x, or of y = f(line of x), which is written, too.
template <int n, bool has_line, Activation f, class Real>
__global__ void __launch_bounds__(column_threads, statistics_blocks)
    statistics_kernel(Columns m, Real* y, const Real* x, Line<Real> line, ChannelStatistics to,
                      ColumnSums<n>* partial) {
  constexpr int at_once = has_line ? rows_of_many(n) : rows_at_once(n);
  const ColumnPlace<n> place(m);
  Moments<n> moments;
  if (place.rows > 0) {
    const Vec<float, n> center = load_or<n>(to.center, place.k, 0.0f);
    Vec<float, n> scale, shift;
    if (has_line) {
      scale = load_or<n>(line.scale, place.k, 1.0f);
      shift = load_or<n>(line.shift, place.k, 0.0f);
    }
    const int step = -m.stride;
    int64_t at = (m.rows - 1 - place.first_row(m)) * m.c + place.k;
#pragma unroll 1
    for (int left = place.rows; left > 0; left -= at_once, at += int64_t{at_once} * step) {
      bool valid[at_once];
      Vec<float, n> values[at_once], residual[at_once];
#pragma unroll
      for (int u = 0; u < at_once; ++u) {
        valid[u] = u < left;
        values[u] = residual[u] = {};
        if (!valid[u]) continue;
        values[u] = load<n>(x + at + u * step);
        if (has_line && line.residual) residual[u] = load<n>(line.residual + at + u * step);
      }
#pragma unroll
      for (int u = 0; u < at_once; ++u) {
        if (!valid[u]) continue;
        if (has_line) {
#pragma unroll
          for (int i = 0; i < n; ++i)
            values[u][i] = apply<f>(fmaf(values[u][i], scale[i], shift[i]) + residual[u][i]);
          store(y + at + u * step, values[u]);
        }
#pragma unroll
        for (int i = 0; i < n; ++i) values[u][i] -= center[i];
      }
      moments.add(values, valid);
    }
  }
  ColumnSums<n> sums = moments.sums();
  if (sum_columns(m, place, sums, partial)) {
    const double part = 1 / static_cast<double>(m.rows);
#pragma unroll
    for (int i = 0; i < n; ++i) {
      const double shift = sums.a[i] * part, variance = sums.b[i] * part - shift * shift;
      const double center = to.center ? static_cast<double>(to.center[place.k + i]) : 0.0;
      to.mean[place.k + i] = static_cast<float>(center + shift);
      to.variance[place.k + i] = static_cast<float>(variance < 0 ? 0.0 : variance);  // a NaN stays one
    }
  }
}

/// y = f(line of x)
template <int n, Activation f, class Real>
__global__ void __launch_bounds__(column_threads, n == 4 || keeps_input(f) ? 4 : 5)
    line_kernel(Columns m, Real* y, const Real* x, Line<Real> line) {
  constexpr int at_once = rows_moved;
  const ColumnPlace<n> place(m);
  if (place.rows == 0) return;
  const Vec<float, n> scale = load_or<n>(line.scale, place.k, 1.0f),
                      shift = load_or<n>(line.shift, place.k, 0.0f);
  const int step = m.stride;
  int64_t at = place.first_row(m) * m.c + place.k;
#pragma unroll 1
  for (int left = place.rows; left > 0; left -= at_once, at += int64_t{at_once} * step) {
    Vec<float, n> values[at_once], residual[at_once];
#pragma unroll
    for (int u = 0; u < at_once; ++u) {
      residual[u] = {};
      if (u >= left) continue;
      values[u] = load<n>(x + at + u * step);
      if (line.residual) residual[u] = load<n>(line.residual + at + u * step);
    }
#pragma unroll
    for (int u = 0; u < at_once; ++u) {
      if (u >= left) continue;
#pragma unroll
      for (int i = 0; i < n; ++i)
        values[u][i] = apply<f>(fmaf(values[u][i], scale[i], shift[i]) + residual[u][i]);
      store(y + at + u * step, values[u]);
    }
  }
}

/// What is read of one row of n channels to find dz.
template <int n>
struct BackwardRow {
  Vec<float, n> dy, x, other;  // other: y or the residual, whichever is given

  template <class Real>
  __device__ __forceinline__ void read(const NormBackwardOf<Real>& from, const Real* other_at, int64_t at) {
    dy = load<n>(from.dy + at);
    x = load<n>(from.x + at);
    other = {};
    if (other_at) other = load<n>(other_at + at);
  }
  /// dz = dy f'(z), by the arithmetic of the way forward.
  template <Activation f>
  __device__ __forceinline__ Vec<float, n> gradient(bool has_y, const Vec<float, n>& scale,
                                                    const Vec<float, n>& shift) const {
    Vec<float, n> dz;
#pragma unroll
    for (int i = 0; i < n; ++i) {
      const float z = has_y ? other[i] : fmaf(x[i], scale[i], shift[i]) + other[i];
      dz[i] = derive<f>(dy[i], z);
    }
    return dz;
  }
};

/// What from.f needs beside x and dy.
template <Activation f, class Real>
__device__ __forceinline__ const Real* beside(const NormBackwardOf<Real>& from) {
  if (f == Activation::none) return nullptr;
  return !keeps_input(f) && from.y ? from.y : from.residual;
}

/// dbeta and dgamma, and dx as slope x + offset beside scale dz.
template <int n, Activation f, class Real>
__global__ void __launch_bounds__(column_threads, backward_blocks)
    backward_sums_kernel(Columns m, NormGradientsOf<Real> to, NormBackwardOf<Real> from, float* slope,
                         float* offset, ColumnSums<n>* partial) {
  constexpr int at_once = rows_of_many(n);
  const ColumnPlace<n> place(m);
  float dbeta[n] = {}, dgamma[n] = {};
  if (place.rows > 0) {
    const Real* const other = beside<f>(from);
    const bool has_y = !keeps_input(f) && from.y;
    const Vec<float, n> mean = load<n>(from.mean + place.k);
    Vec<float, n> scale, shift;
    if (f != Activation::none) scale = load<n>(from.scale + place.k), shift = load<n>(from.shift + place.k);
    const int step = -m.stride;
    int64_t at = (m.rows - 1 - place.first_row(m)) * m.c + place.k;
#pragma unroll 1
    for (int left = place.rows; left > 0; left -= at_once, at += int64_t{at_once} * step) {
      BackwardRow<n> rows[at_once];
#pragma unroll
      for (int u = 0; u < at_once; ++u) {
        rows[u].dy = rows[u].x = rows[u].other = {};  // adds nothing
        if (u < left) rows[u].read(from, other, at + u * step);
      }
      Vec<float, n> dz[at_once];
#pragma unroll
      for (int u = 0; u < at_once; ++u) dz[u] = rows[u].template gradient<f>(has_y, scale, shift);
#pragma unroll
      for (int u = 0; u < at_once; ++u)
#pragma unroll
        for (int i = 0; i < n; ++i) {
          dbeta[i] += dz[u][i];
          dgamma[i] = fmaf(dz[u][i], rows[u].x[i] - mean[i], dgamma[i]);
        }
      if (!to.dresidual) continue;
#pragma unroll
      for (int u = 0; u < at_once; ++u) {
        if (u >= left) continue;
        Real* const place_of = to.dresidual + at + u * step;
        if (to.add_dresidual) {
          const Vec<float, n> before = load<n>(place_of);
#pragma unroll
          for (int i = 0; i < n; ++i) dz[u][i] += before[i];
        }
        store(place_of, dz[u]);
      }
    }
  }
  ColumnSums<n> sums;
#pragma unroll
  for (int i = 0; i < n; ++i)
    sums.a[i] = static_cast<double>(dbeta[i]), sums.b[i] = static_cast<double>(dgamma[i]);
  if (sum_columns(m, place, sums, partial)) {
    const double part = from.batch_statistics ? 1 / static_cast<double>(m.rows) : 0.0;
#pragma unroll
    for (int i = 0; i < n; ++i) {
      const int64_t k = place.k + i;
      const double rstd = static_cast<double>(from.rstd[k]), scale = static_cast<double>(from.scale[k]);
      const double of_beta = sums.a[i], of_gamma = sums.b[i] * rstd;
      if (to.dbeta)
        to.dbeta[k] = static_cast<float>(of_beta + (to.add_dbeta ? static_cast<double>(to.dbeta[k]) : 0.0));
      if (to.dgamma)
        to.dgamma[k] =
            static_cast<float>(of_gamma + (to.add_dgamma ? static_cast<double>(to.dgamma[k]) : 0.0));
      const double by_x = -scale * rstd * of_gamma * part;
      slope[k] = static_cast<float>(by_x);
      offset[k] = static_cast<float>(-scale * of_beta * part - by_x * static_cast<double>(from.mean[k]));
    }
  }
}

/// dx = scale dz + slope x + offset
template <int n, Activation f, class Real>
__global__ void __launch_bounds__(column_threads, backward_blocks)
    backward_data_kernel(Columns m, NormGradientsOf<Real> to, NormBackwardOf<Real> from, const float* slope,
                         const float* offset) {
  constexpr int at_once = rows_of_many(n);
  const ColumnPlace<n> place(m);
  if (place.rows == 0) return;
  const Real* const other = beside<f>(from);
  const bool has_y = !keeps_input(f) && from.y;
  const Vec<float, n> scale = load<n>(from.scale + place.k), by_x = load<n>(slope + place.k),
                      by_one = load<n>(offset + place.k);
  Vec<float, n> shift;
  if (f != Activation::none) shift = load<n>(from.shift + place.k);
  const int step = m.stride;
  int64_t at = place.first_row(m) * m.c + place.k;
  for (int left = place.rows; left > 0; left -= at_once, at += int64_t{at_once} * step) {
    BackwardRow<n> rows[at_once];
    Vec<float, n> before[at_once];
#pragma unroll
    for (int u = 0; u < at_once; ++u) {
      if (u >= left) continue;
      rows[u].read(from, other, at + u * step);
      if (to.add_dx) before[u] = load<n>(to.dx + at + u * step);
    }
#pragma unroll
    for (int u = 0; u < at_once; ++u) {
      if (u >= left) continue;
      Vec<float, n> dx = rows[u].template gradient<f>(has_y, scale, shift);
#pragma unroll
      for (int i = 0; i < n; ++i) {
        dx[i] = fmaf(scale[i], dx[i], fmaf(rows[u].x[i], by_x[i], by_one[i]));
        if (to.add_dx) dx[i] += before[u][i];
      }
      store(to.dx + at + u * step, dx);
    }
  }
}

/// sample: what makes of the batch's variance that of all there are, rows / (rows - 1)
__global__ void scale_shift_kernel(float* scale, float* shift, float* rstd, const float* mean,
                                   const float* variance, const float* gamma, const float* beta, float eps,
                                   RunningStatistics running, float sample, int64_t c) {
  const int64_t k = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (k >= c) return;
  if (running.mean) {
    running.mean[k] += running.momentum * (mean[k] - running.mean[k]);
    running.variance[k] += running.momentum * (sample * variance[k] - running.variance[k]);
  }
  const float r =
      static_cast<float>(1.0 / std::sqrt(static_cast<double>(variance[k]) + static_cast<double>(eps)));
  rstd[k] = r;
  scale[k] = gamma[k] * r;
  shift[k] = beta[k] - mean[k] * scale[k];
}

/// One thread a channel.
Launch one_each(int64_t c) { return {dim3(static_cast<unsigned>(blocks_for(c, 128))), dim3(128)}; }

Columns statistics_columns(const NormShape& s, int n) {
  return {s, n, rows_at_once(n), statistics_blocks * multiprocessors_meant};
}
Columns backward_columns(const NormShape& s, int n) {
  return {s, n, rows_of_many(n), backward_blocks * multiprocessors_meant};
}

template <bool has_line, Activation f, class Real>
void run_statistics(Real* y, const Real* x, const Line<Real>& line, const ChannelStatistics& to,
                    const NormShape& s, void* scratch) {
  with_width(by_fours(s.c, y, x, line.scale, line.shift, line.residual, to.center), [&](auto n) {
    const Columns m = statistics_columns(s, n);
    launch(statistics_kernel<n, has_line, f, Real>, m.launch(),
           std::tuple(m, y, x, line, to, static_cast<ColumnSums<n>*>(scratch)));
  });
}

template <Activation f, class Real>
void run_backward(const NormGradientsOf<Real>& to, const NormBackwardOf<Real>& from, const NormShape& s,
                  void* scratch) {
  // The numbers of each channel lie after the sums.
  float* const slope =
      reinterpret_cast<float*>(static_cast<char*>(scratch) + sums_bytes(s, backward_columns));
  float* const offset = slope + s.c;
  const bool fours = by_fours(s.c, to.dx, to.dresidual, from.dy, from.x, from.scale, from.shift, from.mean,
                              from.residual, from.y);
  with_width(fours, [&](auto n) {
    const Columns m = backward_columns(s, n);
    launch(backward_sums_kernel<n, f, Real>, m.launch(),
           std::tuple(m, to, from, slope, offset, static_cast<ColumnSums<n>*>(scratch)));
    if (!to.dx) return;
    const Columns d(s, n, rows_of_many(n), blocks_that_move);
    if (to.dresidual && !to.add_dresidual) {  // dz lies there
      NormBackwardOf<Real> plain = from;
      plain.dy = to.dresidual;
      launch(backward_data_kernel<n, Activation::none, Real>, d.launch(),
             std::tuple(d, to, plain, slope, offset));
    } else {
      launch(backward_data_kernel<n, f, Real>, d.launch(), std::tuple(d, to, from, slope, offset));
    }
  });
}

template <class Real>
void statistics(ChannelStatistics to, const Real* x, const NormShape& s, void* scratch) {
  if constexpr (std::is_same_v<Real, float>)
    if (!to.center) to.center = x;  // any row is a better guess than none
  run_statistics<false, Activation::none, Real>(nullptr, x, {}, to, s, scratch);
}

template <class Real>
void forward(Real* y, const Real* x, const Line<Real>& line, Activation activation, const NormShape& s) {
  with(activation, [&](auto f) {
    with_width(by_fours(s.c, y, x, line.scale, line.shift, line.residual), [&](auto n) {
      const Columns m(s, n, rows_moved, blocks_that_move);
      launch(line_kernel<n, decltype(f)::value, Real>, m.launch(), std::tuple(m, y, x, line));
    });
  });
}

template <class Real>
void backward(const NormGradientsOf<Real>& to, const NormBackwardOf<Real>& from, const NormShape& s,
              void* scratch) {
  switch (from.f) {
    case Activation::none:
      return run_backward<Activation::none>(to, from, s, scratch);
    case Activation::relu:
      return run_backward<Activation::relu>(to, from, s, scratch);
    case Activation::relu6:
      return run_backward<Activation::relu6>(to, from, s, scratch);
    case Activation::silu:
      return run_backward<Activation::silu>(to, from, s, scratch);
    case Activation::hard_swish:
      return run_backward<Activation::hard_swish>(to, from, s, scratch);
    case Activation::leaky_relu:
      return run_backward<Activation::leaky_relu>(to, from, s, scratch);
    default:  // others a norm does not end with: derives_from_input
      return run_backward<Activation::gelu>(to, from, s, scratch);
  }
}

template <class Real>
void epilogue(Real* y, const ConvEpilogueOf<Real>& e, const NormShape& s, void* scratch) {
  const bool changes = e.scale || e.shift || e.residual || e.f != Activation::none;
  const Line<Real> line{e.scale, e.shift, e.residual};
  if (!e.statistics.mean) {
    if (changes) forward(y, y, line, e.f, s);
  } else if (!changes) {
    run_statistics<false, Activation::none, Real>(nullptr, y, line, e.statistics, s, scratch);
  } else if (e.f == Activation::relu) {
    run_statistics<true, Activation::relu>(y, y, line, e.statistics, s, scratch);
  } else {
    run_statistics<true, Activation::none>(y, y, line, e.statistics, s, scratch);
  }
}

}  // namespace

size_t channel_statistics_scratch(const NormShape& s) { return sums_bytes(s, statistics_columns); }
size_t batch_norm_backward_scratch(const NormShape& s) {
  return sums_bytes(s, backward_columns) + static_cast<size_t>(2 * s.c) * sizeof(float);
}
size_t convolution_epilogue_scratch(bool statistics, int64_t rows, int64_t channels) {
  return statistics ? sums_bytes({rows, channels}, statistics_columns) : 0;
}

void norm_scale_shift(float* scale, float* shift, float* rstd, const float* mean, const float* variance,
                      const float* gamma, const float* beta, float eps, const RunningStatistics& running,
                      int64_t c) {
  const auto rows = static_cast<double>(running.rows);
  launch(scale_shift_kernel, one_each(c),
         std::tuple(scale, shift, rstd, mean, variance, gamma, beta, eps, running,
                    static_cast<float>(rows / (rows - 1)), c));
}

// Statistics read each number once; the forward pass moves 2 for each, 3 with a residual. The backward pass
// reads dy and x twice and writes dx: 5; relu with y reads that twice, too (7), or, where dresidual is wanted
// (an input of a residual block), writes dz there and reads it in place of dy and y: 7.

void channel_statistics(const ChannelStatistics& to, const float* x, const NormShape& s, void* scratch) {
  statistics(to, x, s, scratch);
}
void scale_shift_forward(float* y, const float* x, const float* scale, const float* shift,
                         const float* residual, Activation f, const NormShape& s) {
  forward(y, x, {scale, shift, residual}, f, s);
}
void batch_norm_backward(const NormGradientsOf<float>& to, const NormBackwardOf<float>& from,
                         const NormShape& s, void* scratch) {
  backward(to, from, s, scratch);
}
void convolution_epilogue(float* y, const ConvEpilogueOf<float>& e, int64_t rows, int64_t channels,
                          void* scratch) {
  epilogue(y, e, {rows, channels}, scratch);
}

void channel_statistics(const ChannelStatistics& to, const bf16* x, const NormShape& s, void* scratch) {
  statistics(to, x, s, scratch);
}
void scale_shift_forward(bf16* y, const bf16* x, const float* scale, const float* shift, const bf16* residual,
                         Activation f, const NormShape& s) {
  forward(y, x, {scale, shift, residual}, f, s);
}
void batch_norm_backward(const NormGradientsOf<bf16>& to, const NormBackwardOf<bf16>& from,
                         const NormShape& s, void* scratch) {
  backward(to, from, s, scratch);
}
void convolution_epilogue(bf16* y, const ConvEpilogueOf<bf16>& e, int64_t rows, int64_t channels,
                          void* scratch) {
  epilogue(y, e, {rows, channels}, scratch);
}

}  // namespace espalier::cuda
