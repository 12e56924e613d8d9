// How Winograd's convolution runs. An image is cut into tiles of 4x4 outputs; each of the 36 points of all
// tiles is a matrix product of its own:
//
//   forward          M[p] [tiles,O] = V[p] [tiles,C] U[p] [C,O]      V = B' x B, U = G w G', y = A' M A
//   backward data    the same on dy, with the weights turned by 180 degrees and O and C exchanged
//   backward weights dU[p] [O,C]    = D[p]' [O,tiles] V[p] [tiles,C] D = A dy A', dw = G' dU G
//   (winograd_weights.cpp)
//
// Where U fits the caches each thread takes blocks of tiles from pixels to pixels, so that V and M never
// leave its own cache ("by blocks": VGG19's layers up to 256 channels); where U is larger than they are, V of
// many tiles is made first, and threads take panels of output channels, whose U they make just in time ("by
// panels": its layers of 512).
#include "espalier/core/cpu/conv/winograd.h"

#include <algorithm>

#include "espalier/core/cpu/pieces.h"
#include "espalier/core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "espalier/core/cpu/conv/winograd.cpp"
#include <hwy/foreach_target.h>  // first: what follows is compiled once for each instruction set

#include <hwy/highway.h>

#include "espalier/core/cpu/conv/product-inl.h"
#include "espalier/core/cpu/conv/winograd_tiles-inl.h"
#include "espalier/core/cpu/dispatch.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {
namespace {

using cpu::Pieces;

// --- weights to points

/// u[p plane + (depth index - from) panel + column - first column] for the columns of one panel: G w G' of w
/// [O,3,3,I]. Forward the columns are output channels and the depth the input's; backward data the other way
/// round, and w is turned by 180 degrees.
template <bool forward>
HWY_INLINE void panel_of_weights(const float* HWY_RESTRICT w, int64_t o, int64_t i, int64_t first_column,
                                 Range depth, float* HWY_RESTRICT u, int64_t plane) {
  const Floats d;
  const int64_t columns = std::min(panel, (forward ? o : i) - first_column);
  for (int64_t column = 0; column < rounded_up(columns, lanes); column += lanes) {
    const int64_t first = first_column + column, left = columns - column;
    const auto put = [&](int64_t k) HWY_ATTR {
      float* HWY_RESTRICT to = u + (k - depth.begin) * panel + column;
      return [to, plane](int a, int b, FloatVector v)
                 HWY_ATTR { hn::StoreU(v, Floats(), to + (a * 6 + b) * plane); };
    };
    if constexpr (!forward) {
      for (int64_t k = depth.begin; k < depth.end; ++k) {
        const float* from = w + k * 9 * i + first;
        const auto turned = [&](int a, int b) HWY_ATTR {
          const float* tap = from + (8 - 3 * a - b) * i;
          return left < lanes ? load(std::true_type(), tap, left) : hn::LoadU(d, tap);
        };
        transform_square<WeightTransform>(turned, put(k));
      }
      continue;
    }
    // Output channels lie 9 I apart: squares of lanes x lanes are transposed first.
    HWY_ALIGN float taps[9][lanes * lanes];
    for (int64_t k0 = depth.begin; k0 < depth.end; k0 += lanes) {
      const int64_t steps = std::min(lanes, depth.end - k0);
      for (int tap = 0; tap < 9; ++tap) {
        const float* from = w + (first * 9 + tap) * i + k0;
        if (left >= lanes && steps == lanes) {
          transpose(from, 9 * i, taps[tap], lanes);
        } else {
          for (int64_t k = 0; k < steps; ++k)
            for (int64_t n = 0; n < lanes; ++n)
              taps[tap][k * lanes + n] = n < left ? from[n * 9 * i + k] : 0.0f;
        }
      }
      for (int64_t k = 0; k < steps; ++k)
        transform_square<WeightTransform>(
            [&](int a, int b) HWY_ATTR { return hn::LoadU(d, taps[3 * a + b] + k * lanes); }, put(k0 + k));
    }
  }
}

// --- forward, and backward data

/// m [tiles][stride] = v u for one point and one panel of at most `columns` columns. v: blocks of `rows`
/// tiles.
HWY_INLINE void multiply_panel(float* m, int64_t stride, const float* v, const float* u, int64_t tiles,
                               int64_t rows, int64_t columns, int64_t depth) {
  for (int64_t t = 0; t < tiles; t += rows, v += row_block(depth), m += rows * stride) {
    with_rows(std::min(rows, tiles - t), [&](auto count) HWY_ATTR {
      if (columns > lanes) {
        RegisterTile<count, 2> tile;
        multiply(tile, v, u, depth);
        tile.store(m, stride);
      } else {
        RegisterTile<count, 1> tile;
        multiply(tile, v, u, depth);
        tile.store(m, stride);
      }
    });
  }
}

/// A block of tiles' V: [points][tiles / rows][depth / lanes][tile_rows][lanes].
struct BlockLayout {
  BlockLayout(int64_t tiles, int64_t depth_)
      : depth(depth_),
        rows(parts_of(tiles, parts_of(tiles, tile_rows))),
        plane(plane_of(parts_of(tiles, rows) * row_block(depth))) {}
  int64_t operator()(int64_t tile, int64_t channel) const {
    return tile / rows * row_block(depth) + channel * tile_rows + tile % rows * lanes;
  }
  int64_t depth, rows, plane;
};

constexpr int64_t cached_weights = 9 << 18;  // floats of U that L3 holds beside all else: 9 MB
constexpr int64_t cached_block =
    160 << 10;                             // floats of V and M of a thread that L2 holds beside a panel of U
constexpr int64_t cached_tiles = 4 << 20;  // floats of V that L3 holds: 16 MB

/// How forward runs for a shape, and its scratch memory.
struct ForwardPlan {
  ForwardPlan(const ConvShape& s, bool statistics, void* block) : tiling(s) {
    const int64_t per_thread = parts_of(tiling.count, threads());
    const int64_t panels = parts_of(s.o, panel);
    // Under 8 tiles a thread fill no register tile: better they share all tiles and divide the channels.
    by_panels =
        points * s.c * rounded_up(s.o, lanes) > cached_weights || (per_thread < 8 && panels >= threads());
    if (by_panels) {
      together = parts_of(threads(), panels);
      const int64_t max_tiles =
          std::min(std::max<int64_t>(cached_tiles / (points * s.c * together), tile_rows),
                   parts_of(tiling.count, together));
      tiles = parts_of(tiling.count, parts_of(tiling.count, max_tiles));
      stride = panel;
    } else {
      stride = rounded_up(s.o, lanes);
      const int64_t max_tiles =
          std::clamp<int64_t>(cached_block / (points * (s.c + stride)) / tile_rows, 1, 8) * tile_rows;
      tiles = parts_of(per_thread, parts_of(per_thread, max_tiles));
    }
    blocks = parts_of(tiling.count, tiles);
    together = std::min(together, blocks);
    const int64_t workers = std::min<int64_t>(threads(), by_panels ? panels * together : blocks);
    parts = static_cast<int>(workers);
    u_plane = plane_of(s.c * panel);
    m_plane = plane_of(tiles * stride);
    v_block = points * BlockLayout(tiles, s.c).plane;
    Pieces pieces(block);
    u = pieces.take(points * u_plane * (by_panels ? workers : panels));
    v = pieces.take(v_block * (by_panels ? together : workers));
    m = pieces.take(points * m_plane * workers);
    if (statistics) sums = pieces.take(BlockSums::floats(blocks, s.o));
    bytes = pieces.bytes();
  }
  Range block_tiles(int64_t b) const { return {b * tiles, std::min(tiling.count, (b + 1) * tiles)}; }

  Tiling tiling;
  bool by_panels;
  int64_t tiles, blocks;             // tiles of a block
  int64_t together = 1;              // blocks by panels at a time, for more threads than there are panels
  int64_t v_block;                   // floats of a block's V
  int64_t stride, u_plane, m_plane;  // of m's rows; of planes
  int parts;
  float *u = nullptr, *v = nullptr, *m = nullptr, *sums = nullptr;
  size_t bytes;
};

/// What the three steps of a block share.
template <bool forward>
struct Forward {
  Forward(float* y_, const float* x_, const float* w_, const ConvEpilogue& e_, const ConvShape& s_,
          void* block)
      : y(y_),
        x(x_),
        w(w_),
        e(e_),
        s(s_),
        plan(s, e.statistics.mean != nullptr, block),
        sums(plan.sums, s.o) {}

  /// The weights' own axes: backward data's shape has them exchanged.
  HWY_INLINE void transform_weights(int64_t j, Range depth, float* u) const {
    panel_of_weights<forward>(w, forward ? s.o : s.c, forward ? s.c : s.o, j * panel, depth, u, plan.u_plane);
  }
  HWY_INLINE void transform_input(Range tiles, Range block, float* v) const {
    const BlockLayout layout(block.end - block.begin, s.c);
    to_points<InputTransform>(x, {s.n, s.h, s.w, s.c}, s.pad.top, plan.tiling, tiles, v, layout.plane,
                              [layout, skip = tiles.begin - block.begin](int64_t t, int64_t k)
                                  HWY_ATTR { return layout(skip + t, k); });
  }
  HWY_INLINE void multiply(int64_t j, Range block, const float* u, const float* v, float* m) const {
    const int64_t tiles = block.end - block.begin;
    const BlockLayout layout(tiles, s.c);
    for (int64_t p = 0; p < points; ++p)
      multiply_panel(m + p * plan.m_plane, plan.stride, v + p * layout.plane, u + p * plan.u_plane, tiles,
                     layout.rows, s.o - j * panel, s.c);
  }
  HWY_INLINE void transform_output(int64_t b, Range channels, const float* m) const {
    const Images images{s.n, s.out_h(), s.out_w(), s.o};
    const auto run = [&](auto is_plain) HWY_ATTR {
      to_outputs<is_plain>(y, images, plan.tiling, plan.block_tiles(b), channels, m, plan.m_plane,
                           plan.stride, e, sums.sum(b));
    };
    plain(e) ? run(std::true_type()) : run(std::false_type());
  }

  void by_blocks() const {
    const int64_t panels = parts_of(s.o, panel), chunks = parts_of(s.c, lanes);
    parallel_for(panels * chunks, 4, [&](int64_t begin, int64_t end) HWY_ATTR {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t j = i / chunks, k = i % chunks * lanes;
        transform_weights(j, {k, std::min(s.c, k + lanes)}, plan.u + j * points * plan.u_plane + k * panel);
      }
    });
    parallel_items(plan.blocks, plan.parts, [&](int part, int64_t b) HWY_ATTR {
      float *v = plan.v + part * plan.v_block, *m = plan.m + part * points * plan.m_plane;
      const Range block = plan.block_tiles(b);
      transform_input(block, block, v);
      for (int64_t j = 0; j < panels; ++j)
        multiply(j, block, plan.u + j * points * plan.u_plane, v, m + j * panel);
      transform_output(b, {0, s.o}, m);
    });
  }

  void by_panels() const {
    for (int64_t first = 0; first < plan.blocks; first += plan.together) {
      const int64_t count = std::min(plan.together, plan.blocks - first), from = first * plan.tiles;
      const auto v_of = [&](int64_t b) { return plan.v + (b - first) * plan.v_block; };
      parallel_for(plan.block_tiles(first + count - 1).end - from, 1,
                   [&](int64_t begin, int64_t end) HWY_ATTR {
                     for (int64_t t = from + begin, stop; t < from + end; t = stop) {
                       const int64_t b = t / plan.tiles;
                       const Range block = plan.block_tiles(b);
                       stop = std::min(from + end, block.end);
                       transform_input({t, stop}, block, v_of(b));
                     }
                   });
      parallel_items(parts_of(s.o, panel) * count, plan.parts, [&](int part, int64_t item) HWY_ATTR {
        const int64_t j = item / count, b = first + item % count;
        float *u = plan.u + part * points * plan.u_plane, *m = plan.m + part * points * plan.m_plane;
        transform_weights(j, {0, s.c}, u);
        multiply(j, plan.block_tiles(b), u, v_of(b), m);
        transform_output(b, {j * panel, std::min(s.o, (j + 1) * panel)}, m);
      });
    }
  }

  void run() const {
    const int64_t pixels = s.n * s.out_h() * s.out_w();
    sums.clear(plan.blocks);
    plan.by_panels ? by_panels() : by_blocks();
    sums.merge(e.statistics, plan.blocks, pixels);
    run_other_activation(y, e, pixels * s.o);
  }

  float* y;
  const float *x, *w;
  const ConvEpilogue& e;
  const ConvShape s;
  const ForwardPlan plan;
  const BlockSums sums;
};

/// Backward data as a forward convolution: of dy, to dx.
ConvShape turned(const ConvShape& s) { return {s.n, s.out_h(), s.out_w(), s.o, s.c, 3, 3, 1, 2 - s.pad.top}; }

size_t forward_scratch(const ConvShape& s, const ConvEpilogue& e) {
  return ForwardPlan(s, e.statistics.mean != nullptr, nullptr).bytes;
}
void run_forward(float* y, const float* x, const float* w, const ConvEpilogue& e, const ConvShape& s,
                 void* scratch) {
  Forward<true>(y, x, w, e, s, scratch).run();
}
size_t backward_data_scratch(const ConvShape& s) { return ForwardPlan(turned(s), false, nullptr).bytes; }
void run_backward_data(float* dx, const float* dy, const float* w, const ConvShape& s, bool accumulate,
                       void* scratch) {
  Forward<false>(dx, dy, w, {.residual = accumulate ? dx : nullptr}, turned(s), scratch).run();
}

}  // namespace
}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace espalier::cpu {

bool winograd_fits(const ConvShape& s) {
  return s.kh == 3 && s.kw == 3 && s.stride == 1 && s.dilation == 1 && s.groups == 1 && s.pad.alike() &&
         s.pad.top <= 2;
}
size_t winograd_forward_scratch(const ConvShape& s, const ConvEpilogue& e) {
  return ESP_DISPATCH(forward_scratch)(s, e);
}
void winograd_forward(float* y, const float* x, const float* w, const ConvEpilogue& e, const ConvShape& s,
                      void* scratch) {
  ESP_DISPATCH(run_forward)(y, x, w, e, s, scratch);
}
size_t winograd_backward_data_scratch(const ConvShape& s) { return ESP_DISPATCH(backward_data_scratch)(s); }
void winograd_backward_data(float* dx, const float* dy, const float* w, const ConvShape& s, bool accumulate,
                            void* scratch) {
  ESP_DISPATCH(run_backward_data)(dx, dy, w, s, accumulate, scratch);
}

}  // namespace espalier::cpu
#endif
