// Softmax over rows (rows.cuh): 2 numbers moved a number forward, 3 backward, one more to accumulate.
#include <cmath>

#include "espalier/core/kernels.h"
#include "espalier/cuda/rows.cuh"

namespace espalier::cuda {
namespace {

template <class Team, class Real>
__device__ __forceinline__ void forward_row(Team team, Real* y, const Real* x, int64_t c) {
  const int64_t lane = lane_of_team<Team>();
  float top = -INFINITY, sum = 0;
  for (int64_t k = lane; k < c; k += Team::size) top = fmaxf(top, x[k]);
  const float largest = team.most(top);
  for (int64_t k = lane; k < c; k += Team::size) sum += expf(x[k] - largest);
  const float share = 1.0f / team.sum(sum);
  for (int64_t k = lane; k < c; k += Team::size) y[k] = expf(x[k] - largest) * share;
}

template <class Team, class Real>
__global__ void __launch_bounds__(Team::size* Team::rows)
    softmax_forward_kernel(Real* y, const Real* x, NormShape s) {
  __shared__ float shared[row_block / warp];
  Team team;
  if constexpr (Team::rows == 1) team.shared = shared;
  const int64_t row = row_of_team<Team>();
  if (row < s.rows)  // the same for all of a team
    forward_row(team, y + row * s.c, x + row * s.c, s.c);
}

template <class Team, class Real>
__device__ __forceinline__ void backward_row(Team team, Real* dx, const Real* dy, const Real* y, int64_t c,
                                             bool accumulate) {
  const int64_t lane = lane_of_team<Team>();
  float sum = 0;
  for (int64_t k = lane; k < c; k += Team::size) sum = fmaf(dy[k], y[k], sum);
  sum = team.sum(sum);
  for (int64_t k = lane; k < c; k += Team::size) {
    const float d = y[k] * (dy[k] - sum);
    dx[k] = accumulate ? dx[k] + d : d;
  }
}

template <class Team, class Real>
__global__ void __launch_bounds__(Team::size* Team::rows)
    softmax_backward_kernel(Real* dx, const Real* dy, const Real* y, NormShape s, bool accumulate) {
  __shared__ float shared[row_block / warp];
  Team team;
  if constexpr (Team::rows == 1) team.shared = shared;
  const int64_t row = row_of_team<Team>(), at = row * s.c;
  if (row < s.rows) backward_row(team, dx + at, dy + at, y + at, s.c, accumulate);
}

template <class Real>
void forward(Real* y, const Real* x, const NormShape& s) {
  with_team(s.c, [&]<class Team>(Team) {
    launch(softmax_forward_kernel<Team, Real>, rows_of_teams<Team>(s.rows), std::tuple(y, x, s));
  });
}
template <class Real>
void backward(Real* dx, const Real* dy, const Real* y, const NormShape& s, bool accumulate) {
  with_team(s.c, [&]<class Team>(Team) {
    launch(softmax_backward_kernel<Team, Real>, rows_of_teams<Team>(s.rows),
           std::tuple(dx, dy, y, s, accumulate));
  });
}

}  // namespace

void softmax_forward(float* y, const float* x, const NormShape& s) { forward(y, x, s); }
void softmax_forward(bf16* y, const bf16* x, const NormShape& s) { forward(y, x, s); }
void softmax_backward(float* dx, const float* dy, const float* y, const NormShape& s, bool accumulate) {
  backward(dx, dy, y, s, accumulate);
}
void softmax_backward(bf16* dx, const bf16* dy, const bf16* y, const NormShape& s, bool accumulate) {
  backward(dx, dy, y, s, accumulate);
}

}  // namespace espalier::cuda
