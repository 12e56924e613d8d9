// Layer norm over rows (rows.cuh): 2 numbers moved a number forward, 3 for dx, 2 for dgamma and dbeta, which
// are summed down the columns (columns.cuh); what is one number a row or a column is small beside them.
#include <cmath>

#include "espalier/core/kernels.h"
#include "espalier/cuda/columns.cuh"
#include "espalier/cuda/rows.cuh"

namespace espalier::cuda {
namespace {

constexpr int rows_at_once = 2;                       // that a thread of the sums loads before it uses them
constexpr int64_t blocks_of_sums = int64_t{3} * 132;  // as many as 132 multiprocessors (H100) hold

template <class Team, class Real>
__device__ __forceinline__ void forward_row(Team team, Real* y, float* mean, float* rstd, const Real* x,
                                            const float* gamma, const float* beta, float eps, int64_t c) {
  const int64_t lane = lane_of_team<Team>();
  const float part = 1.0f / static_cast<float>(c);
  float sum = 0, square = 0;
  for (int64_t k = lane; k < c; k += Team::size) sum += x[k];
  const float middle = team.sum(sum) * part;
  for (int64_t k = lane; k < c; k += Team::size) {
    const float departure = x[k] - middle;
    square = fmaf(departure, departure, square);
  }
  const float r = 1.0f / sqrtf(team.sum(square) * part + eps);
  if (lane == 0) *mean = middle, *rstd = r;
  for (int64_t k = lane; k < c; k += Team::size) y[k] = fmaf((x[k] - middle) * r, gamma[k], beta[k]);
}

template <class Team, class Real>
__global__ void __launch_bounds__(Team::size* Team::rows)
    layer_norm_forward_kernel(Real* y, float* mean, float* rstd, const Real* x, const float* gamma,
                              const float* beta, float eps, NormShape s) {
  __shared__ float shared[row_block / warp];
  Team team;
  if constexpr (Team::rows == 1) team.shared = shared;
  const int64_t row = row_of_team<Team>(), at = row * s.c;
  if (row < s.rows)  // the same for all of a team
    forward_row(team, y + at, mean + row, rstd + row, x + at, gamma, beta, eps, s.c);
}

template <class Team, class Real>
__device__ __forceinline__ void backward_row(Team team, Real* dx, const LayerNormBackwardOf<Real>& from,
                                             int64_t row, int64_t c, bool accumulate) {
  const int64_t lane = lane_of_team<Team>();
  const Real *const dy = from.dy + row * c, *const x = from.x + row * c;
  const float mean = from.mean[row], rstd = from.rstd[row], part = 1.0f / static_cast<float>(c);
  float plain = 0, along = 0;
  for (int64_t k = lane; k < c; k += Team::size) {
    const float dz = dy[k] * from.gamma[k];
    plain += dz;
    along = fmaf(dz, (x[k] - mean) * rstd, along);
  }
  const float offset = team.sum(plain) * part, slope = team.sum(along) * part;
  for (int64_t k = lane; k < c; k += Team::size) {
    const float d = rstd * (dy[k] * from.gamma[k] - offset - (x[k] - mean) * rstd * slope);
    dx[k] = accumulate ? dx[k] + d : d;
  }
}

template <class Team, class Real>
__global__ void __launch_bounds__(Team::size* Team::rows)
    layer_norm_backward_kernel(Real* dx, LayerNormBackwardOf<Real> from, NormShape s, bool accumulate) {
  __shared__ float shared[row_block / warp];
  Team team;
  if constexpr (Team::rows == 1) team.shared = shared;
  const int64_t row = row_of_team<Team>();
  if (row < s.rows) backward_row(team, dx + row * s.c, from, row, s.c, accumulate);
}

/// dgamma and dbeta; either may be null.
template <int n, class Real>
__global__ void __launch_bounds__(column_threads)
    layer_norm_sums_kernel(Columns m, NormGradientsOf<Real> to, LayerNormBackwardOf<Real> from,
                           ColumnSums<n>* partial) {
  const ColumnPlace<n> place(m);
  float dbeta[n] = {}, dgamma[n] = {};
  if (place.rows > 0) {
    const int64_t step = m.slabs * m.lanes;
    int64_t row = place.first_row(m);
#pragma unroll 1
    for (int left = place.rows; left > 0; left -= rows_at_once, row += rows_at_once * step) {
      Vec<float, n> dy[rows_at_once], x[rows_at_once];
      float mean[rows_at_once], rstd[rows_at_once];
#pragma unroll
      for (int u = 0; u < rows_at_once; ++u) {
        dy[u] = x[u] = {};  // adds nothing
        mean[u] = rstd[u] = 0;
        if (u >= left) continue;
        const int64_t at = row + u * step;
        dy[u] = load<n>(from.dy + at * m.c + place.k);
        x[u] = load<n>(from.x + at * m.c + place.k);
        mean[u] = from.mean[at];
        rstd[u] = from.rstd[at];
      }
#pragma unroll
      for (int u = 0; u < rows_at_once; ++u)
#pragma unroll
        for (int i = 0; i < n; ++i) {
          dbeta[i] += dy[u][i];
          dgamma[i] = fmaf(dy[u][i], (x[u][i] - mean[u]) * rstd[u], dgamma[i]);
        }
    }
  }
  ColumnSums<n> sums;
#pragma unroll
  for (int i = 0; i < n; ++i)
    sums.a[i] = static_cast<double>(dbeta[i]), sums.b[i] = static_cast<double>(dgamma[i]);
  if (sum_columns(m, place, sums, partial)) {
#pragma unroll
    for (int i = 0; i < n; ++i) {
      const int64_t k = place.k + i;
      if (to.dbeta)
        to.dbeta[k] = static_cast<float>(sums.a[i] + (to.add_dbeta ? static_cast<double>(to.dbeta[k]) : 0.0));
      if (to.dgamma)
        to.dgamma[k] =
            static_cast<float>(sums.b[i] + (to.add_dgamma ? static_cast<double>(to.dgamma[k]) : 0.0));
    }
  }
}

Columns columns_of_sums(const NormShape& s, int n) { return {s, n, rows_at_once, blocks_of_sums}; }

template <class Real>
void forward(Real* y, float* mean, float* rstd, const Real* x, const float* gamma, const float* beta,
             float eps, const NormShape& s) {
  with_team(s.c, [&]<class Team>(Team) {
    launch(layer_norm_forward_kernel<Team, Real>, rows_of_teams<Team>(s.rows),
           std::tuple(y, mean, rstd, x, gamma, beta, eps, s));
  });
}

template <class Real>
void backward(const NormGradientsOf<Real>& to, const LayerNormBackwardOf<Real>& from, const NormShape& s,
              void* scratch) {
  if (to.dgamma || to.dbeta)
    with_width(by_fours(s.c, from.dy, from.x), [&](auto n) {
      const Columns m = columns_of_sums(s, n);
      launch(layer_norm_sums_kernel<n, Real>, m.launch(),
             std::tuple(m, to, from, static_cast<ColumnSums<n>*>(scratch)));
    });
  if (to.dx)
    with_team(s.c, [&]<class Team>(Team) {
      launch(layer_norm_backward_kernel<Team, Real>, rows_of_teams<Team>(s.rows),
             std::tuple(to.dx, from, s, to.add_dx));
    });
}

}  // namespace

size_t layer_norm_backward_scratch(const NormShape& s) { return sums_bytes(s, columns_of_sums); }

void layer_norm_forward(float* y, float* mean, float* rstd, const float* x, const float* gamma,
                        const float* beta, float eps, const NormShape& s) {
  forward(y, mean, rstd, x, gamma, beta, eps, s);
}
void layer_norm_forward(bf16* y, float* mean, float* rstd, const bf16* x, const float* gamma,
                        const float* beta, float eps, const NormShape& s) {
  forward(y, mean, rstd, x, gamma, beta, eps, s);
}
void layer_norm_backward(const NormGradientsOf<float>& to, const LayerNormBackwardOf<float>& from,
                         const NormShape& s, void* scratch) {
  backward(to, from, s, scratch);
}
void layer_norm_backward(const NormGradientsOf<bf16>& to, const LayerNormBackwardOf<bf16>& from,
                         const NormShape& s, void* scratch) {
  backward(to, from, s, scratch);
}

}  // namespace espalier::cuda
