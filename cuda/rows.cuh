// Passes over rows of x [rows,C] whose sums run along the row: a team of threads takes one, a warp where it
// is short, else a block. Its numbers are read from memory once; further passes find them in the L1 cache.
#pragma once

#include "espalier/cuda/device.cuh"

namespace espalier::cuda {

constexpr int64_t most_warp_numbers = 1024;  // a row of more gets a block
constexpr int row_block = 256;               // threads

struct WarpTeam {
  static constexpr int size = warp, rows = 4;  // rows of a block
  __device__ float most(float v) { return warp_max(v); }
  template <class T>
  __device__ T sum(T v) {
    return warp_sum(v);
  }
};
struct BlockTeam {
  static constexpr int size = row_block, rows = 1;
  float* shared;  // [size / 32]
  __device__ float most(float v) { return block_max<size>(v, shared); }
  template <class T>
  __device__ T sum(T v) {
    return block_sum<size>(v, reinterpret_cast<T*>(shared));
  }
};

/// A team's row, and a thread's place in the team.
template <class Team>
__device__ __forceinline__ int64_t row_of_team() {
  return int64_t{blockIdx.x} * Team::rows + threadIdx.x / Team::size;
}
template <class Team>
__device__ __forceinline__ int32_t lane_of_team() {
  return static_cast<int32_t>(threadIdx.x % Team::size);
}

/// A team a row.
template <class Team>
Launch rows_of_teams(int64_t rows) {
  return {dim3(static_cast<unsigned>(blocks_for(rows, Team::rows))), dim3(Team::size * Team::rows)};
}

/// Calls body with the team that rows of c numbers get.
template <class Body>
void with_team(int64_t c, const Body& body) {
  if (c <= most_warp_numbers)
    body(WarpTeam());
  else
    body(BlockTeam());
}

}  // namespace espalier::cuda
