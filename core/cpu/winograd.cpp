// How Winograd's convolution runs. An image is cut into tiles of 4x4 outputs; each of the 36 points of all
// tiles is a matrix product of its own:
//
//   forward          M[p] [tiles,O] = V[p] [tiles,C] U[p] [C,O]      V = B' x B, U = G w G', y = A' M A
//   backward data    the same on dy, with the weights turned by 180 degrees and O and C exchanged
//   backward weights dU[p] [O,C]    = D[p]' [O,tiles] V[p] [tiles,C] D = A dy A', dw = G' dU G
//
// Where U fits the caches each thread takes blocks of tiles from pixels to pixels, so that V and M never
// leave its own cache ("by blocks"); where U is larger than they are, V of all tiles is made first, and
// threads take panels of output channels, whose U they make just in time ("by panels").
#include "espalier/core/cpu/winograd.h"

#include <algorithm>

#include "espalier/core/cpu/pieces.h"
#include "espalier/core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "espalier/core/cpu/winograd.cpp"
#include <hwy/foreach_target.h>  // first: what follows is compiled once for each instruction set

#include <hwy/highway.h>

#include "espalier/core/cpu/dispatch.h"
#include "espalier/core/cpu/epilogue-inl.h"
#include "espalier/core/cpu/product-inl.h"
#include "espalier/core/cpu/winograd_transform-inl.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {
namespace {

using cpu::Pieces;

/// Images [n,h,w,c], some of whose tiles are looked at.
struct Images {
  int64_t n, h, w, c;
};

/// The tiles of an output [n,h,w], by number.
struct Tiling {
  explicit Tiling(const ConvShape& s)
      : down(parts_of(s.out_h(), out_side)),
        across(parts_of(s.out_w(), out_side)),
        count(s.n * down * across) {}
  struct Corner {
    int64_t image, y, x;  ///< in outputs
  };
  Corner corner(int64_t tile) const {
    return {tile / (down * across), tile / across % down * out_side, tile % across * out_side};
  }
  int64_t down, across, count;
};

// --- pixels to points and back

/// Tiles `range` of `images` by T, each from `pad` pixels above and left of its corner: point p of tile t and
/// the channels from k on go to points[p plane + place(t - range.begin, k)]. What lies outside an image is 0.
template <class T, class Place>
HWY_INLINE void to_points(const float* HWY_RESTRICT pixels, const Images& images, int64_t pad,
                          const Tiling& tiling, Range range, float* HWY_RESTRICT points, int64_t plane,
                          const Place& place) {
  const int64_t c = images.c, row = images.w * c;
  for (int64_t t = range.begin; t < range.end; ++t) {
    const auto at = tiling.corner(t);
    const int64_t y = at.y - pad, x = at.x - pad;
    const float* HWY_RESTRICT corner = pixels + (at.image * images.h + y) * row + x * c;
    const auto all_channels = [&](const auto& read) HWY_ATTR {
      for_vectors(0, c, [&](auto tail, int64_t k) HWY_ATTR {
        float* HWY_RESTRICT to = points + place(t - range.begin, k);
        transform_square<T>([&](int i, int j) HWY_ATTR { return read(tail, i, j, k); },
                            [&](int i, int j, FloatVector v)
                                HWY_ATTR { hn::StoreU(v, Floats(), to + (i * T::to + j) * plane); });
      });
    };
    if (y >= 0 && x >= 0 && y + T::from <= images.h && x + T::from <= images.w) {
      all_channels([&](auto tail, int i, int j, int64_t k) HWY_ATTR {
        const float* HWY_RESTRICT from = corner + i * row + j * c + k;
        if (j >= T::from - out_side) hwy::Prefetch(from + out_side * c);  // the next tile's
        return load(tail, from, c - k);
      });
    } else {
      all_channels([&](auto tail, int i, int j, int64_t k) HWY_ATTR {
        const bool inside = y + i >= 0 && y + i < images.h && x + j >= 0 && x + j < images.w;
        return inside ? load(tail, corner + i * row + j * c + k, c - k) : hn::Zero(Floats());
      });
    }
  }
}

/// The channels [begin,end) of tiles `range`, from m [points][tiles][stride] to y [images] with the epilogue.
/// `sums`: of the block.
template <bool is_plain>
HWY_INLINE void to_outputs(float* HWY_RESTRICT y, const Images& images, const Tiling& tiling, Range range,
                           Range channels, const float* HWY_RESTRICT m, int64_t plane, int64_t stride,
                           const ConvEpilogue& e, float* sums) {
  const int64_t o = images.c;
  for (int64_t t = range.begin; t < range.end; ++t, m += stride) {
    const auto at = tiling.corner(t);
    const int64_t corner = ((at.image * images.h + at.y) * images.w + at.x) * o;
    const int64_t rows = std::min<int64_t>(out_side, images.h - at.y),
                  columns = std::min<int64_t>(out_side, images.w - at.x);
    for_vectors(channels.begin, channels.end, [&](auto tail, int64_t k) HWY_ATTR {
      OutputChannels<is_plain, decltype(tail)> out(e, k, channels.end - k);
      const float* HWY_RESTRICT from = m + (k - channels.begin);
      transform_square<OutputTransform>(
          [&](int i, int j) HWY_ATTR { return hn::LoadU(Floats(), from + (i * in_side + j) * plane); },
          [&](int i, int j, FloatVector v) HWY_ATTR {
            if (i < rows && j < columns) out.put(v, y, corner + (i * images.w + j) * o + k);
          });
      out.finish(sums, o);
    });
  }
}

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
    by_panels =
        points * s.c * rounded_up(s.o, lanes) > cached_weights || (per_thread < 8 && panels >= threads());
    if (by_panels) {
      tiles = std::clamp<int64_t>(cached_tiles / (points * s.c), tile_rows, tiling.count);
      tiles = parts_of(tiling.count, parts_of(tiling.count, tiles));
      stride = panel;
    } else {
      stride = rounded_up(s.o, lanes);
      const int64_t most =
          std::clamp<int64_t>(cached_block / (points * (s.c + stride)) / tile_rows, 1, 8) * tile_rows;
      tiles = parts_of(per_thread, parts_of(per_thread, most));
    }
    blocks = parts_of(tiling.count, tiles);
    const int64_t workers =
        by_panels ? std::min<int64_t>(threads(), panels) : std::min<int64_t>(threads(), blocks);
    parts = static_cast<int>(workers);
    u_plane = plane_of(s.c * panel);
    m_plane = plane_of(tiles * stride);
    const BlockLayout layout(tiles, s.c);
    Pieces pieces(block);
    u = pieces.take(points * u_plane * (by_panels ? workers : panels));
    v = pieces.take(points * layout.plane * (by_panels ? 1 : workers));
    m = pieces.take(points * m_plane * workers);
    if (statistics) sums = pieces.take(BlockSums::floats(blocks, s.o));
    pieces.take(64 * panel);  // what prefetches and the last vectors may touch
    bytes = pieces.bytes();
  }
  Range block_tiles(int64_t b) const { return {b * tiles, std::min(tiling.count, (b + 1) * tiles)}; }

  Tiling tiling;
  bool by_panels;
  int64_t tiles, blocks;             // tiles of a block
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
    to_points<InputTransform>(x, {s.n, s.h, s.w, s.c}, s.pad, plan.tiling, tiles, v, layout.plane,
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
    const int64_t v_size = points * BlockLayout(plan.tiles, s.c).plane;
    parallel_items(plan.blocks, plan.parts, [&](int part, int64_t b) HWY_ATTR {
      float *v = plan.v + part * v_size, *m = plan.m + part * points * plan.m_plane;
      const Range block = plan.block_tiles(b);
      transform_input(block, block, v);
      for (int64_t j = 0; j < panels; ++j)
        multiply(j, block, plan.u + j * points * plan.u_plane, v, m + j * panel);
      transform_output(b, {0, s.o}, m);
    });
  }

  void by_panels() const {
    for (int64_t b = 0; b < plan.blocks; ++b) {
      const Range block = plan.block_tiles(b);
      parallel_for(block.end - block.begin, 1, [&](int64_t begin, int64_t end) HWY_ATTR {
        transform_input({block.begin + begin, block.begin + end}, block, plan.v);
      });
      parallel_items(parts_of(s.o, panel), plan.parts, [&](int part, int64_t j) HWY_ATTR {
        float *u = plan.u + part * points * plan.u_plane, *m = plan.m + part * points * plan.m_plane;
        transform_weights(j, {0, s.c}, u);
        multiply(j, block, u, plan.v, m);
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
ConvShape turned(const ConvShape& s) { return {s.n, s.out_h(), s.out_w(), s.o, s.c, 3, 3, 1, 2 - s.pad}; }

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

// --- backward weights

/// How backward weights runs: with dU small each thread has its own and takes blocks of tiles; otherwise all
/// threads make V and D of a block of tiles and then share the products among them, point by point.
struct WeightsPlan {
  WeightsPlan(const ConvShape& s, void* block)
      : tiling(s), c(rounded_up(s.c, lanes)), o(rounded_up(s.o, lanes)) {
    own = points * s.o * c <= 72 * 64 * 64;
    const int64_t per_thread = own ? parts_of(tiling.count, threads()) : tiling.count;
    const int64_t most = own ? 112 : s.c + s.o >= 768 ? 128 : 64;
    tiles = parts_of(per_thread, parts_of(per_thread, most));
    blocks = parts_of(tiling.count, tiles);
    parts = own ? static_cast<int>(std::min<int64_t>(threads(), blocks)) : 1;
    v_plane = plane_of(parts_of(s.c, panel) * tiles * panel);
    d_plane = plane_of(tiles * o);
    du_plane = plane_of(s.o * c);
    Pieces pieces(block);
    v = pieces.take(parts * points * v_plane);
    d = pieces.take(parts * points * d_plane);
    du = pieces.take(parts * points * du_plane);
    pieces.take(panel);  // what the last vectors may touch
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
    to_points<InputTransform>(x, {s.n, s.h, s.w, s.c}, s.pad, plan.tiling, some, v, plan.v_plane,
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

HWY_EXPORT(forward_scratch);
HWY_EXPORT(run_forward);
HWY_EXPORT(backward_data_scratch);
HWY_EXPORT(run_backward_data);
HWY_EXPORT(backward_weights_scratch);
HWY_EXPORT(run_backward_weights);

bool winograd_fits(const ConvShape& s) {
  return s.kh == 3 && s.kw == 3 && s.stride == 1 && s.groups == 1 && s.pad <= 2;
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
size_t winograd_backward_weights_scratch(const ConvShape& s) {
  return ESP_DISPATCH(backward_weights_scratch)(s);
}
void winograd_backward_weights(float* dw, const float* dy, const float* x, const ConvShape& s,
                               bool accumulate, void* scratch) {
  ESP_DISPATCH(run_backward_weights)(dw, dy, x, s, accumulate, scratch);
}

}  // namespace espalier::cpu
#endif
