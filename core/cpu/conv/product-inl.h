// The innermost matrix product: a tile of c that stays in registers while a and b stream past. Winograd
// convolution, 1x1 convolution and linear layers are all made of it. Included once per instruction set.
#if defined(ESPALIER_CORE_CPU_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ESPALIER_CORE_CPU_PRODUCT_INL_H_
#undef ESPALIER_CORE_CPU_PRODUCT_INL_H_
#else
#define ESPALIER_CORE_CPU_PRODUCT_INL_H_
#endif

#include <hwy/cache_control.h>

#include "espalier/core/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {

constexpr int64_t lanes = static_cast<int64_t>(hn::MaxLanes(Floats()));
/// Rows of a register tile. With two vectors a row it fills the registers: 28 of 32 hold sums with AVX-512,
/// 12 of 16 with AVX2, and the loads (rows + 2 a step) keep up with the multiply-adds (2 rows a step).
constexpr int tile_rows = lanes >= 16 ? 14 : 6;
/// Columns of a panel of b: two vectors.
constexpr int64_t panel = 2 * lanes;

/// Floats of a cache line: what one prefetch brings.
constexpr int64_t cache_line = 16;

/// ceil(n / d)
constexpr int64_t parts_of(int64_t n, int64_t d) { return (n + d - 1) / d; }
constexpr int64_t rounded_up(int64_t n, int64_t d) { return parts_of(n, d) * d; }

/// The distance in floats between planes of so many: an odd number of vectors, since a power of two would put
/// all planes into the same few cache lines.
constexpr int64_t plane_of(int64_t floats) { return (parts_of(floats, lanes) | 1) * lanes; }

/// The sums of a register tile.
template <int rows, int vectors>
struct RegisterTile {
  FloatVector sum[rows][vectors];

  HWY_INLINE void clear() {
    const Floats d;
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) sum[r][v] = hn::Zero(d);
  }
  HWY_INLINE void load(const float* c, int64_t stride) {
    const Floats d;
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) sum[r][v] = hn::LoadU(d, c + r * stride + v * lanes);
  }
  HWY_INLINE void store(float* c, int64_t stride) const {
    const Floats d;
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) hn::StoreU(sum[r][v], d, c + r * stride + v * lanes);
  }
  /// sum[r][v] += a[r a_row] b[v lanes ..]: one step of the depth.
  template <int64_t a_row>
  HWY_INLINE void step(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b) {
    const Floats d;
    FloatVector column[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) column[v] = hn::LoadU(d, b + v * lanes);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      const FloatVector value = hn::Set(d, a[r * a_row]);
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) sum[r][v] = hn::MulAdd(value, column[v], sum[r][v]);
    }
  }
};

/// Floats of a block of tile_rows rows of a, laid out for `multiply`.
constexpr int64_t row_block(int64_t depth) { return rounded_up(depth, lanes) * tile_rows; }

struct AskForNothing {
  HWY_INLINE void operator()() const {}
};

/// tile = a b. a: a block [depth / lanes][tile_rows][lanes], so that it is read as one sequential stream; b
/// [depth][panel]. Every `lanes` steps it calls ask(), which may prefetch what comes next.
template <int rows, int vectors, class Ask = AskForNothing>
HWY_INLINE void multiply(RegisterTile<rows, vectors>& tile, const float* HWY_RESTRICT a,
                         const float* HWY_RESTRICT b, int64_t depth, const Ask& ask = {}) {
  tile.clear();
  for (int64_t left = depth; left > 0; left -= lanes, a += tile_rows * lanes) {
    const int64_t steps = std::min(left, lanes);
    for (int r = 0; r < rows; ++r) hwy::Prefetch(a + 2 * tile_rows * lanes + r * lanes);
    ask();
    for (int64_t k = 0; k < steps; ++k, b += panel) {
      hwy::Prefetch(b + 32 * panel);
      if (vectors == 2) hwy::Prefetch(b + 32 * panel + lanes);
      tile.template step<lanes>(a + k, b);
    }
  }
}

/// tile += a' b: a [depth][rows, a_stride apart], b [depth][columns, b_stride apart]. The first `asks` steps
/// call ask(), which may prefetch what comes next.
template <int rows, int vectors, class Ask = AskForNothing>
HWY_INLINE void multiply_transposed(RegisterTile<rows, vectors>& tile, const float* HWY_RESTRICT a,
                                    int64_t a_stride, const float* HWY_RESTRICT b, int64_t b_stride,
                                    int64_t depth, int64_t asks = 0, const Ask& ask = {}) {
  for (int64_t k = 0; k < depth; ++k, a += a_stride, b += b_stride) {
    if (k < asks) ask();
    tile.template step<1>(a, b);
  }
}

/// to[j][i] = from[i][j], squares of lanes x lanes.
HWY_INLINE void transpose(const float* from, int64_t from_stride, float* to, int64_t to_stride) {
#if HWY_TARGET == HWY_SCALAR
  for (int64_t i = 0; i < lanes; ++i)
    for (int64_t j = 0; j < lanes; ++j) to[j * to_stride + i] = from[i * from_stride + j];
#else
  const hn::FixedTag<float, 4> d;  // squares of 4 x 4 at a time
  for (int64_t i = 0; i < lanes; i += 4) {
    for (int64_t j = 0; j < lanes; j += 4) {
      const float* f = from + i * from_stride + j;
      const auto r0 = hn::LoadU(d, f), r1 = hn::LoadU(d, f + from_stride),
                 r2 = hn::LoadU(d, f + 2 * from_stride), r3 = hn::LoadU(d, f + 3 * from_stride);
      const auto even = hn::InterleaveLower(d, r0, r2), odd = hn::InterleaveLower(d, r1, r3),
                 even2 = hn::InterleaveUpper(d, r0, r2), odd2 = hn::InterleaveUpper(d, r1, r3);
      float* t = to + j * to_stride + i;
      hn::StoreU(hn::InterleaveLower(d, even, odd), d, t);
      hn::StoreU(hn::InterleaveUpper(d, even, odd), d, t + to_stride);
      hn::StoreU(hn::InterleaveLower(d, even2, odd2), d, t + 2 * to_stride);
      hn::StoreU(hn::InterleaveUpper(d, even2, odd2), d, t + 3 * to_stride);
    }
  }
#endif
}

/// Calls body(std::integral_constant<int, rows>) with `rows` of 1 .. tile_rows as a compile-time constant.
template <int max_rows = tile_rows, class Body>
HWY_INLINE void with_rows(int64_t rows, const Body& body) {
  if constexpr (max_rows > 1)
    if (rows < max_rows) return with_rows<max_rows - 1>(rows, body);
  body(std::integral_constant<int, max_rows>());
}

}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
