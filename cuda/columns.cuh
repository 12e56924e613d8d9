// Passes over the rows of x [rows,C] whose sums run down the columns: how rows and channels are dealt out to
// blocks and threads, and how two sums a channel are brought together in one launch.
//
// A thread owns `n` neighbouring channels (4, moved as 16 bytes, where C is a multiple of 4 and memory is
// aligned; else 1) and walks down the rows, so that what belongs to a channel stays in registers. A block is
// `width` such threads across, 128 bytes of a row at most, by `lanes` rows; `tiles` blocks stand beside each
// other, `slabs` above each other. The blocks of a slab take every slabs-th stretch of `lanes` rows: all of
// them together move down x side by side. The layout, and so the order of every sum, is a function of the
// shape alone, whatever card runs it.
#pragma once

#include "espalier/core/kernels.h"
#include "espalier/cuda/device.cuh"

namespace espalier::cuda {

constexpr int column_threads = 256;
constexpr int64_t most_tiles = 4096;  // over 131072 channels, blocks get wider instead
constexpr int64_t longest_run = 512;  // rows that a thread sums in single precision

struct Columns {
  int64_t rows, c;
  int64_t slabs;
  int width, lanes, tiles;
  int stride;    // numbers from one row of a thread to its next
  int each;      // rows of every thread,
  int64_t more;  // and one more for those that start above this row

  /// `n`: channels of a thread; `at_once`: rows that it loads before it uses them; `blocks`: how many are
  /// wanted.
  Columns(const NormShape& s, int n, int at_once, int64_t blocks) : rows(s.rows), c(s.c) {
    const int64_t vectors = s.c / n, widest = n == 4 ? 8 : 32;
    tiles = static_cast<int>(std::min(blocks_for(vectors, widest), most_tiles));
    width = static_cast<int>(blocks_for(vectors, tiles));
    tiles = static_cast<int>(blocks_for(vectors, width));
    lanes = column_threads / width;
    const int64_t stretches = blocks_for(rows, lanes), wave = std::max<int64_t>(1, blocks / tiles);
    slabs = std::min({blocks_for(stretches, at_once), wave * blocks_for(stretches, wave * longest_run),
                      int64_t{65535}});  // of a grid's second dimension
    const int64_t step = slabs * lanes;
    stride = static_cast<int>(step * c);
    each = static_cast<int>(rows / step);
    more = rows % step;
  }
  Launch launch() const {
    return {dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(slabs)), dim3(column_threads)};
  }
  /// Bytes of scratch for sum_columns.
  size_t sums_bytes() const { return static_cast<size_t>(2 * slabs * c) * sizeof(double); }
};

/// A thread's place: its lane, its first channel k, how many rows it has.
template <int n>
struct ColumnPlace {
  int lane, k;
  int rows;  // 0: an idle thread, which only keeps barriers company

  __device__ explicit ColumnPlace(const Columns& m)
      : lane(static_cast<int>(threadIdx.x) / m.width),
        k((static_cast<int>(blockIdx.x) * m.width + static_cast<int>(threadIdx.x) % m.width) * n),
        rows(lane < m.lanes && k < m.c ? m.each + (first_row(m) < m.more ? 1 : 0) : 0) {}
  __device__ int64_t first_row(const Columns& m) const { return int64_t{blockIdx.y} * m.lanes + lane; }
};

/// `value` in all places where there is nothing to load.
template <int n>
__device__ __forceinline__ Vec<float, n> load_or(const float* p, int64_t at, float value) {
  if (p) return load<n>(p + at);
  Vec<float, n> all;
#pragma unroll
  for (int i = 0; i < n; ++i) all[i] = value;
  return all;
}

/// Two sums for each of a thread's channels.
template <int n>
struct alignas(16) ColumnSums {
  double a[n], b[n];
};

/// The lanes of a block added up, pairwise; lane 0 gets the total.
template <int n>
__device__ ColumnSums<n> sum_lanes(const Columns& m, int lane, ColumnSums<n> sums) {
  __shared__ double shared[2 * n][column_threads];  // by thread last: no two of a warp in one bank
  const int thread = thread_in_block();
  for (int left = m.lanes; left > 1;) {
    const int half = (left + 1) / 2;
    __syncthreads();  // until what lies there has been read
#pragma unroll
    for (int i = 0; i < n; ++i) shared[i][thread] = sums.a[i], shared[n + i][thread] = sums.b[i];
    __syncthreads();
    if (lane + half < left) {
      const int other = thread + half * m.width;
#pragma unroll
      for (int i = 0; i < n; ++i) sums.a[i] += shared[i][other], sums.b[i] += shared[n + i][other];
    }
    left = half;
  }
  return sums;
}

/// Of each tile, how many blocks have left their sums; 0 between kernels. One set serves all, as all kernels
/// go to one stream. The count says which block is the last, never in which order anything is added.
static __device__ unsigned arrived[most_tiles];

/// Adds `sums` up over all rows of x. True in the threads of lane 0 of one block for each tile, which then
/// hold the totals: of the block that was the last to finish, so that no second launch is needed. All threads
/// have to call it. `partial`: Columns::sums_bytes().
template <int n>
__device__ bool sum_columns(const Columns& m, const ColumnPlace<n>& place, ColumnSums<n>& sums,
                            ColumnSums<n>* partial) {
  __shared__ bool last;
  sums = sum_lanes(m, place.lane, sums);
  const int64_t vectors = m.c / n;
  partial += place.k / n;
  const bool owns = place.k < m.c && place.lane < m.lanes, writes = owns && place.lane == 0;
  if (writes) partial[blockIdx.y * vectors] = sums;
  __threadfence();  // the sums are there before the count says so
  __syncthreads();
  if (threadIdx.x == 0) {
    const unsigned most = static_cast<unsigned>(m.slabs) - 1;
    last = atomicInc(&arrived[blockIdx.x], most) == most;  // which makes it 0 again
  }
  __syncthreads();
  if (last) {
    __threadfence();  // and are read after it
    sums = {};
    if (owns)
#pragma unroll 2
      for (int64_t slab = place.lane; slab < m.slabs; slab += m.lanes) {
        const ColumnSums<n> part = partial[slab * vectors];
#pragma unroll
        for (int i = 0; i < n; ++i) sums.a[i] += part.a[i], sums.b[i] += part.b[i];
      }
    sums = sum_lanes(m, place.lane, sums);
  }
  return last && writes;
}

/// Calls body with the number of channels that a thread moves at once, a compile-time constant.
template <class Body>
void with_width(bool fours, const Body& body) {
  if (fours)
    body(std::integral_constant<int, 4>());
  else
    body(std::integral_constant<int, 1>());
}
template <class... P>
bool by_fours(int64_t c, const P*... pointers) {
  return c % 4 == 0 && aligned<4>(pointers...);
}

/// Scratch for the sums, enough for both widths: that a pointer is not aligned shows only later.
template <class Layout>
size_t sums_bytes(const NormShape& s, const Layout& layout) {
  return std::max(layout(s, 1).sums_bytes(), s.c % 4 == 0 ? layout(s, 4).sums_bytes() : 0);
}

}  // namespace espalier::cuda
