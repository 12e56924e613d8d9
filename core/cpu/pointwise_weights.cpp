// 1x1 convolution, backward weights: dw [O,C] = dy' x, the rows being the depth of the product.
#include "espalier/core/cpu/pointwise.h"

#include <algorithm>

#include "espalier/core/cpu/pieces.h"
#include "espalier/core/cpu/pointwise_rows.h"
#include "espalier/core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "espalier/core/cpu/pointwise_weights.cpp"
#include <hwy/foreach_target.h>  // first: what follows is compiled once for each instruction set

#include <hwy/highway.h>

#include "espalier/core/cpu/dispatch.h"
#include "espalier/core/cpu/product-inl.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {
namespace {

using cpu::Pieces;
using cpu::Rows;

/// Small weights: each thread sums its own dw over its rows; large ones: each thread makes some outputs' over
/// all rows.
struct WeightsPlan {
  WeightsPlan(const ConvShape& s, void* memory) : rows(Rows(s).count), c(rounded_up(s.c, lanes)) {
    by_rows = s.o * c <= 128 << 10;
    parts = static_cast<int>(by_rows ? std::min<int64_t>(threads(), parts_of(rows, 64))
                                     : std::min<int64_t>(threads(), parts_of(s.o, tile_rows)));
    const int64_t mine = by_rows ? parts_of(rows, parts) : rows;
    block = parts_of(mine, parts_of(mine, 128));
    d_stride = plane_of(s.o);
    Pieces pieces(memory);
    packed = pieces.take(parts * packed_size(s));
    du = pieces.take((by_rows ? parts : 1) * s.o * c);
    bytes = pieces.bytes();
  }
  /// Of a thread: a block of x as panels, and of dy.
  int64_t x_size(const ConvShape& s) const { return parts_of(s.c, panel) * block * panel; }
  int64_t packed_size(const ConvShape& s) const { return x_size(s) + block * d_stride; }
  int64_t rows, c;  // c rounded up to whole vectors
  bool by_rows;
  int parts;
  int64_t block, d_stride;
  float *packed, *du;
  size_t bytes;
};

/// Asks for the cache lines of rows `block` of x and of their outputs' dy, one a call, so that the next block
/// is on its way while this one is multiplied: memory takes a third as long as the product does.
struct Ahead {
  const ConvShape& s;
  const Rows& map;
  const float *dy, *x;
  Range block, outputs;
  int64_t row = block.begin, line = 0;  // the next to be asked for

  int64_t x_lines() const { return parts_of(s.c, cache_line); }
  int64_t row_lines() const { return x_lines() + parts_of(outputs.end - outputs.begin, cache_line); }
  int64_t lines() const { return (block.end - block.begin) * row_lines(); }
  HWY_INLINE void ask() {
    if (row >= block.end) return;
    const int64_t in_dy = line - x_lines();
    hwy::Prefetch(in_dy < 0 ? x + map.large(row) * s.c + line * cache_line
                            : dy + row * s.o + outputs.begin + in_dy * cache_line);
    if (++line == row_lines()) line = 0, ++row;
  }
};

/// du [outputs][C] = or += dy' x of rows `block`.
HWY_INLINE void add_block(const WeightsPlan& plan, const ConvShape& s, const Rows& map, const float* dy,
                          const float* x, Range block, Range outputs, float* memory, float* du, bool first,
                          Ahead ahead) {
  float *v = memory, *d = memory + plan.x_size(s);
  const int64_t wanted = outputs.end - outputs.begin;
  for (int64_t r = block.begin; r < block.end; ++r) {
    const int64_t at = r - block.begin;
    const float *from_x = x + map.large(r) * s.c, *from_dy = dy + r * s.o + outputs.begin;
    for_vectors(0, s.c, [&](auto tail, int64_t k) HWY_ATTR {
      hn::StoreU(load(tail, from_x + k, s.c - k), Floats(),
                 v + (k / panel * plan.block + at) * panel + k % panel);
    });
    for_vectors(0, wanted, [&](auto tail, int64_t k) HWY_ATTR {
      hn::StoreU(load(tail, from_dy + k, wanted - k), Floats(), d + at * plan.d_stride + k);
    });
  }
  const int64_t rows = parts_of(wanted, parts_of(wanted, tile_rows));
  const int64_t tiles = parts_of(s.c, panel) * parts_of(wanted, rows),
                lines = parts_of(ahead.lines(), tiles);  // of each tile
  for (int64_t k = 0; k < s.c; k += panel) {
    for (int64_t r = 0; r < wanted; r += rows) {
      float* to = du + r * plan.c + k;
      with_rows(std::min(rows, wanted - r), [&](auto count) HWY_ATTR {
        const auto run = [&](auto vectors) HWY_ATTR {
          RegisterTile<count, vectors> tile;
          first ? tile.clear() : tile.load(to, plan.c);
          multiply_transposed(tile, d + r, plan.d_stride, v + k * plan.block, panel, block.end - block.begin,
                              lines, [&]() HWY_ATTR { ahead.ask(); });
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

size_t backward_weights_scratch(const ConvShape& s) { return WeightsPlan(s, nullptr).bytes; }
void run_backward_weights(float* dw, const float* dy, const float* x, const ConvShape& s, bool accumulate,
                          void* scratch) {
  const WeightsPlan plan(s, scratch);
  const Rows map(s);
  parallel_parts(plan.parts, [&](int part) HWY_ATTR {
    const Range share = part_of(plan.by_rows ? plan.rows : s.o, part, plan.parts);
    const Range rows = plan.by_rows ? share : Range{0, plan.rows},
                outputs = plan.by_rows ? Range{0, s.o} : share;
    float* du = plan.du + (plan.by_rows ? part * s.o : outputs.begin) * plan.c;
    const auto block_at = [&](int64_t r) {
      return Range{std::min(r, rows.end), std::min(r + plan.block, rows.end)};
    };
    for (int64_t r = rows.begin; r < rows.end; r += plan.block)
      add_block(plan, s, map, dy, x, block_at(r), outputs, plan.packed + part * plan.packed_size(s), du,
                r == rows.begin, {s, map, dy, x, block_at(r + plan.block), outputs});
  });
  const int copies = plan.by_rows ? plan.parts : 1;
  parallel_for(s.o, std::max<int64_t>(1, 16384 / s.c), [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t o = begin; o < end; ++o) {
      for_vectors(0, s.c, [&](auto tail, int64_t k) HWY_ATTR {
        auto sum = hn::LoadU(Floats(), plan.du + o * plan.c + k);
        for (int copy = 1; copy < copies; ++copy)
          sum = hn::Add(sum, hn::LoadU(Floats(), plan.du + (copy * s.o + o) * plan.c + k));
        put(tail, sum, dw + o * s.c + k, s.c - k, accumulate);
      });
    }
  });
}

}  // namespace
}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace espalier::cpu {

HWY_EXPORT(backward_weights_scratch);
HWY_EXPORT(run_backward_weights);

size_t pointwise_backward_weights_scratch(const ConvShape& s) {
  return ESP_DISPATCH(backward_weights_scratch)(s);
}
void pointwise_backward_weights(float* dw, const float* dy, const float* x, const ConvShape& s,
                                bool accumulate, void* scratch) {
  ESP_DISPATCH(run_backward_weights)(dw, dy, x, s, accumulate, scratch);
}

}  // namespace espalier::cpu
#endif
