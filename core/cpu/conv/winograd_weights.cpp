// Winograd's convolution, backward weights: dU[p] [O,C] = D[p]' [O,tiles] V[p] [tiles,C], the tiles being the
// depth of the product; dw = G' dU G. See winograd.cpp.
#include "espalier/core/cpu/conv/winograd.h"

#include <algorithm>

#include "espalier/core/cpu/pieces.h"
#include "espalier/core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "espalier/core/cpu/conv/winograd_weights.cpp"
#include <hwy/foreach_target.h>  // first: what follows is compiled once for each instruction set

#include <hwy/highway.h>

#include "espalier/core/cpu/conv/product-inl.h"
#include "espalier/core/cpu/conv/winograd_tiles-inl.h"
#include "espalier/core/cpu/dispatch.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {
namespace {

using cpu::Pieces;

/// How backward weights runs: with dU small each thread has its own and takes blocks of tiles; otherwise all
/// threads make V and D of a block of tiles and then share the products among them, point by point.
struct WeightsPlan {
  WeightsPlan(const ConvShape& s, void* block)
      : tiling(s), c(rounded_up(s.c, lanes)), o(rounded_up(s.o, lanes)) {
    own = points * s.o * c <= 72 * 64 * 64;
    const int64_t per_thread = own ? parts_of(tiling.count, threads()) : tiling.count;
    const int64_t max_tiles = own ? 112 : s.c + s.o >= 768 ? 128 : 64;
    tiles = parts_of(per_thread, parts_of(per_thread, max_tiles));
    blocks = parts_of(tiling.count, tiles);
    parts = own ? static_cast<int>(std::min<int64_t>(threads(), blocks)) : 1;
    v_plane = plane_of(parts_of(s.c, panel) * tiles * panel);
    d_plane = plane_of(tiles * o);
    du_plane = plane_of(s.o * c);
    Pieces pieces(block);
    v = pieces.take(parts * points * v_plane);
    d = pieces.take(parts * points * d_plane);
    du = pieces.take(parts * points * du_plane);
    bytes = pieces.bytes();
  }
  Tiling tiling;
  int64_t c, o;  // rounded up to whole vectors
  bool own;
  int64_t tiles, blocks;
  int parts;  // copies of v, d and du
  int64_t v_plane, d_plane, du_plane;
  float *v, *d, *du;
  size_t bytes;
};

struct BackwardWeights {
  BackwardWeights(float* dw_, const float* dy_, const float* x_, const ConvShape& s_, bool accumulate_,
                  void* block)
      : dw(dw_), dy(dy_), x(x_), s(s_), accumulate(accumulate_), plan(s_, block) {}

  /// V and D of tiles `some` of a block that starts at tile `first`.
  HWY_INLINE void transform(Range some, int64_t first, float* v, float* d) const {
    const int64_t skip = some.begin - first;
    to_points<InputTransform>(x, {s.n, s.h, s.w, s.c}, s.pad.top, plan.tiling, some, v, plan.v_plane,
                              [skip, tiles = plan.tiles](int64_t t, int64_t k)
                                  HWY_ATTR { return (k / panel * tiles + skip + t) * panel + k % panel; });
    to_points<GradientTransform>(dy, {s.n, s.out_h(), s.out_w(), s.o}, 0, plan.tiling, some, d, plan.d_plane,
                                 [skip, o = plan.o](int64_t t, int64_t k)
                                     HWY_ATTR { return (skip + t) * o + k; });
  }

  /// dU = D' V, or dU += D' V, of one point over `tiles` tiles.
  HWY_INLINE void multiply(int64_t p, int64_t tiles, const float* v, const float* d, float* du,
                           bool first) const {
    const int64_t rows = parts_of(s.o, parts_of(s.o, tile_rows));
    for (int64_t k = 0; k < s.c; k += panel) {
      const float* b = v + p * plan.v_plane + k * plan.tiles;
      for (int64_t r = 0; r < s.o; r += rows) {
        const float* a = d + p * plan.d_plane + r;
        float* to = du + p * plan.du_plane + r * plan.c + k;
        with_rows(std::min(rows, s.o - r), [&](auto count) HWY_ATTR {
          const auto run = [&](auto vectors) HWY_ATTR {
            RegisterTile<count, vectors> tile;
            first ? tile.clear() : tile.load(to, plan.c);
            multiply_transposed(tile, a, plan.o, b, panel, tiles);
            tile.store(to, plan.c);
          };
          if (s.c - k > lanes)
            run(std::integral_constant<int, 2>());
          else
            run(std::integral_constant<int, 1>());
        });
      }
    }
  }

  void run() const {
    const auto block_at = [&](int64_t b) {
      return Range{b * plan.tiles, std::min(plan.tiling.count, (b + 1) * plan.tiles)};
    };
    if (plan.own) {
      parallel_parts(plan.parts, [&](int part) HWY_ATTR {
        float *v = plan.v + part * points * plan.v_plane, *d = plan.d + part * points * plan.d_plane,
              *du = plan.du + part * points * plan.du_plane;
        const Range mine = part_of(plan.blocks, part, plan.parts);
        for (int64_t i = mine.begin; i < mine.end; ++i) {
          const Range block = block_at(i);
          transform(block, block.begin, v, d);
          for (int64_t p = 0; p < points; ++p)
            multiply(p, block.end - block.begin, v, d, du, i == mine.begin);
        }
      });
    } else {
      for (int64_t i = 0; i < plan.blocks; ++i) {
        const Range block = block_at(i);
        parallel_for(block.end - block.begin, 1, [&](int64_t begin, int64_t end) HWY_ATTR {
          transform({block.begin + begin, block.begin + end}, block.begin, plan.v, plan.d);
        });
        parallel_for(points, 1, [&](int64_t begin, int64_t end) HWY_ATTR {
          for (int64_t p = begin; p < end; ++p)
            multiply(p, block.end - block.begin, plan.v, plan.d, plan.du, i == 0);
        });
      }
    }
    parallel_for(s.o, 1, [&](int64_t begin, int64_t end) HWY_ATTR {
      for (int64_t r = begin; r < end; ++r) to_weights(r);
    });
  }

  /// dw [r] = G' dU[r] G, dU summed over its copies.
  HWY_INLINE void to_weights(int64_t r) const {
    for_vectors(0, s.c, [&](auto tail, int64_t k) HWY_ATTR {
      const float* from = plan.du + r * plan.c + k;
      transform_square<WeightGradientTransform>(
          [&](int i, int j) HWY_ATTR {
            const float* at = from + (i * in_side + j) * plan.du_plane;
            auto sum = hn::LoadU(Floats(), at);
            for (int copy = 1; copy < plan.parts; ++copy)
              sum = hn::Add(sum, hn::LoadU(Floats(), at + copy * points * plan.du_plane));
            return sum;
          },
          [&](int i, int j, FloatVector v)
              HWY_ATTR { put(tail, v, dw + (r * 9 + 3 * i + j) * s.c + k, s.c - k, accumulate); });
    });
  }

  float* dw;
  const float *dy, *x;
  const ConvShape s;
  const bool accumulate;
  const WeightsPlan plan;
};

size_t backward_weights_scratch(const ConvShape& s) { return WeightsPlan(s, nullptr).bytes; }
void run_backward_weights(float* dw, const float* dy, const float* x, const ConvShape& s, bool accumulate,
                          void* scratch) {
  BackwardWeights(dw, dy, x, s, accumulate, scratch).run();
}

}  // namespace
}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace espalier::cpu {

size_t winograd_backward_weights_scratch(const ConvShape& s) {
  return ESP_DISPATCH(backward_weights_scratch)(s);
}
void winograd_backward_weights(float* dw, const float* dy, const float* x, const ConvShape& s,
                               bool accumulate, void* scratch) {
  ESP_DISPATCH(run_backward_weights)(dw, dy, x, s, accumulate, scratch);
}

}  // namespace espalier::cpu
#endif
