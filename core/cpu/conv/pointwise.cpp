// How a 1x1 convolution runs: y [rows,O] = x [rows,C] w', where a row is a pixel. The weight is cut into
// panels of columns, blocks of rows are packed so that the product reads them as one stream, and the epilogue
// takes each tile of the result while it is in the first cache. Backward data is the same product on dy.
#include "espalier/core/cpu/conv/pointwise.h"

#include <algorithm>

#include "espalier/core/cpu/conv/pointwise_rows.h"
#include "espalier/core/cpu/pieces.h"
#include "espalier/core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "espalier/core/cpu/conv/pointwise.cpp"
#include <hwy/foreach_target.h>  // first: what follows is compiled once for each instruction set

#include <hwy/highway.h>

#include "espalier/core/cpu/conv/epilogue-inl.h"
#include "espalier/core/cpu/conv/product-inl.h"
#include "espalier/core/cpu/dispatch.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {
namespace {

using cpu::Pieces;
using cpu::Rows;

/// u [depth][panel]: columns from `first` on. forward: w [columns][depth]; otherwise w [depth][columns].
template <bool forward>
HWY_INLINE void pack_panel(float* HWY_RESTRICT u, const float* HWY_RESTRICT w, int64_t columns, int64_t depth,
                           int64_t first, Range range) {
  for (int64_t column = first; column < std::min(rounded_up(columns, lanes), first + panel);
       column += lanes) {
    const int64_t left = columns - column;
    float* to = u + column - first;
    for (int64_t k = range.begin; k < range.end; k += forward ? lanes : 1) {
      if constexpr (forward) {
        const int64_t steps = std::min(lanes, range.end - k);
        if (left >= lanes && steps == lanes) {
          transpose(w + column * depth + k, depth, to + k * panel, panel);
        } else {
          for (int64_t step = 0; step < steps; ++step)
            for (int64_t n = 0; n < lanes; ++n)
              to[(k + step) * panel + n] = n < left ? w[(column + n) * depth + k + step] : 0.0f;
        }
      } else {
        const float* from = w + k * columns + column;
        hn::StoreU(left < lanes ? load(std::true_type(), from, left) : hn::LoadU(Floats(), from), Floats(),
                   to + k * panel);
      }
    }
  }
}

/// All panels of a weight, side by side.
template <bool forward>
void pack_weights(float* u, const float* w, int64_t columns, int64_t depth) {
  const int64_t panels = parts_of(columns, panel), chunks = parts_of(depth, 4 * lanes);
  parallel_for(panels * chunks, 4, [=](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t j = i / chunks, k = i % chunks * 4 * lanes;
      pack_panel<forward>(u + j * depth * panel, w, columns, depth, j * panel,
                          {k, std::min(depth, k + 4 * lanes)});
    }
  });
}
int64_t packed_floats(int64_t columns, int64_t depth) { return parts_of(columns, panel) * panel * depth; }

/// How y [rows,columns] = x [rows,depth] u is cut: threads take blocks of rows, or where there are few rows
/// panels of columns.
struct RowsPlan {
  RowsPlan(int64_t rows_, int64_t columns_, int64_t depth_) : rows(rows_), columns(columns_), depth(depth_) {
    const int64_t panels = parts_of(columns, panel);
    by_panels = rows < 64 * threads() && panels >= threads();
    parts = static_cast<int>(by_panels ? threads() : std::min<int64_t>(threads(), parts_of(rows, tile_rows)));
    const int64_t mine = by_panels ? rows : parts_of(rows, parts);
    // By panels each block streams all weights past: fewer, larger blocks.
    const int64_t floats = by_panels ? 128 << 10 : 96 << 10;
    const int64_t max_block = std::clamp<int64_t>(floats / depth / tile_rows, 1, 8) * tile_rows;
    block = parts_of(mine, parts_of(mine, max_block));
    tile = parts_of(block, parts_of(block, tile_rows));
    blocks = parts_of(rows, block);
    packed = parts_of(block, tile) * row_block(depth);
  }
  int64_t rows, columns, depth;
  bool by_panels;
  int parts;
  int64_t block, tile, blocks;  ///< rows of a block and of a register tile; blocks in all
  int64_t packed;               ///< floats of a packed block
};

/// One product: rows `from` to rows `to` (large images where the stride is above 1).
struct RowsProduct {
  float* y;
  const float *x, *u;
  const Rows& map;
  bool gather, scatter;  ///< x, or y, is the larger image
  const ConvEpilogue& e;
  const RowsPlan& plan;
  float* packed;
  BlockSums sums;

  Range rows_of(int64_t block) const {
    return {std::min(plan.rows, block * plan.block), std::min(plan.rows, (block + 1) * plan.block)};
  }

  /// Rows [begin,end) as [tiles][depth / lanes][tile_rows][lanes].
  HWY_INLINE void pack(Range block, float* HWY_RESTRICT to) const {
    for (int64_t r = block.begin; r < block.end; ++r) {
      const int64_t at = r - block.begin;
      const float* HWY_RESTRICT from = x + (gather ? map.large(r) : r) * plan.depth;
      float* HWY_RESTRICT row = to + at / plan.tile * row_block(plan.depth) + at % plan.tile * lanes;
      for_vectors(0, plan.depth, [&](auto tail, int64_t k) HWY_ATTR {
        hn::StoreU(load(tail, from + k, plan.depth - k), Floats(), row + k * tile_rows);
      });
    }
  }

  /// Asks for the cache lines of rows of x, so many a call: those of the next block, while this one is
  /// multiplied.
  struct Ahead {
    const RowsProduct& product;
    Range rows;
    int64_t each;
    int64_t k = 0;  // in the first of the rows

    HWY_INLINE void operator()() {
      for (int64_t i = 0; i < each && rows.begin < rows.end; ++i) {
        hwy::Prefetch(product.x +
                      (product.gather ? product.map.large(rows.begin) : rows.begin) * product.plan.depth + k);
        k += cache_line;
        if (k >= product.plan.depth) k = 0, ++rows.begin;
      }
    }
  };

  /// Rows from `first` on and one panel of columns from `column` on.
  template <bool is_plain, int rows, int vectors>
  HWY_INLINE void tile(const float* a, int64_t first, int64_t column, float* block_sums, Ahead& ahead) const {
    int64_t places[rows];
    for (int r = 0; r < rows; ++r) {
      places[r] = (scatter ? map.large(first + r) : first + r) * plan.columns;
      for (int v = 0; v < vectors; ++v) __builtin_prefetch(y + places[r] + column + v * lanes, 1);
    }
    RegisterTile<rows, vectors> sum;
    multiply(sum, a, u + column * plan.depth, plan.depth, [&]() HWY_ATTR { ahead(); });
    if (is_plain && column + vectors * lanes <= plan.columns) {
      for (int r = 0; r < rows; ++r)
        for (int v = 0; v < vectors; ++v)
          hn::StoreU(sum.sum[r][v], Floats(), y + places[r] + column + v * lanes);
      return;
    }
    HWY_ALIGN float c[tile_rows * panel];
    sum.store(c, panel);
    for_vectors(column, std::min(plan.columns, column + panel), [&](auto tail, int64_t k) HWY_ATTR {
      OutputChannels<is_plain, decltype(tail)> out(e, k, plan.columns - k);
      for (int r = 0; r < rows; ++r)
        out.put(hn::LoadU(Floats(), c + r * panel + k - column), y, places[r] + k);
      out.finish(block_sums, plan.columns);
    });
  }

  template <bool is_plain>
  HWY_INLINE void run_block(int64_t b, int64_t next, Range panels, float* a) const {
    const Range rows = rows_of(b);
    pack(rows, a);
    const int64_t lines = (rows.end - rows.begin) * parts_of(plan.depth, cache_line),
                  calls = (panels.end - panels.begin) * parts_of(rows.end - rows.begin, plan.tile) *
                          parts_of(plan.depth, lanes);
    Ahead ahead{*this, rows_of(next), parts_of(lines, calls)};
    for (int64_t j = panels.begin; j < panels.end; ++j) {
      const int64_t column = j * panel;
      for (int64_t r = rows.begin; r < rows.end; r += plan.tile) {
        const float* of_tile = a + (r - rows.begin) / plan.tile * row_block(plan.depth);
        with_rows(std::min(plan.tile, rows.end - r), [&](auto count) HWY_ATTR {
          if (plan.columns - column > lanes)
            tile<is_plain, count, 2>(of_tile, r, column, sums.sum(b), ahead);
          else
            tile<is_plain, count, 1>(of_tile, r, column, sums.sum(b), ahead);
        });
      }
    }
  }

  void run() const {
    sums.clear(plan.blocks);
    const Range all_panels{0, parts_of(plan.columns, panel)}, all_blocks{0, plan.blocks};
    parallel_parts(plan.parts, [&](int part) HWY_ATTR {
      const Range panels = plan.by_panels ? part_of(all_panels.end, part, plan.parts) : all_panels;
      const Range blocks = plan.by_panels ? all_blocks : part_of(plan.blocks, part, plan.parts);
      float* a = packed + part * plan.packed;
      for (int64_t b = blocks.begin; b < blocks.end; ++b) {
        const int64_t next = b + 1 < blocks.end ? b + 1 : plan.blocks;  // after the last: nothing
        plain(e) ? run_block<true>(b, next, panels, a) : run_block<false>(b, next, panels, a);
      }
    });
    sums.merge(e.statistics, plan.blocks, plan.rows);
  }
};

/// Scratch of a product: the weight's panels (unless they are prepared), packed rows, sums.
struct RowsMemory {
  RowsMemory(const RowsPlan& plan, bool pack_weights, bool statistics, void* block) {
    Pieces pieces(block);
    if (pack_weights) u = pieces.take(packed_floats(plan.columns, plan.depth));
    packed = pieces.take(plan.parts * plan.packed);
    if (statistics) sums = pieces.take(BlockSums::floats(plan.blocks, plan.columns));
    bytes = pieces.bytes();
  }
  float *u = nullptr, *packed = nullptr, *sums = nullptr;
  size_t bytes;
};

RowsPlan forward_plan(const ConvShape& s) { return {Rows(s).count, s.o, s.c}; }
RowsPlan backward_data_plan(const ConvShape& s) { return {Rows(s).count, s.c, s.o}; }

size_t forward_scratch(const ConvShape& s, const ConvEpilogue& e) {
  return RowsMemory(forward_plan(s), true, e.statistics.mean != nullptr, nullptr).bytes;
}
void run_forward(float* y, const float* x, const float* w, const void* prepared, const ConvEpilogue& e,
                 const ConvShape& s, void* scratch) {
  const RowsPlan plan = forward_plan(s);
  const RowsMemory memory(plan, !prepared, e.statistics.mean != nullptr, scratch);
  if (!prepared) pack_weights<true>(memory.u, w, s.o, s.c);
  const Rows map(s);
  RowsProduct{.y = y,
              .x = x,
              .u = prepared ? static_cast<const float*>(prepared) : memory.u,
              .map = map,
              .gather = s.stride != 1,
              .scatter = false,
              .e = e,
              .plan = plan,
              .packed = memory.packed,
              .sums = BlockSums(memory.sums, s.o)}
      .run();
  run_other_activation(y, e, plan.rows * s.o);
}

size_t backward_data_scratch(const ConvShape& s) {
  return RowsMemory(backward_data_plan(s), true, false, nullptr).bytes;
}
void run_backward_data(float* dx, const float* dy, const float* w, const ConvShape& s, bool accumulate,
                       void* scratch) {
  const RowsPlan plan = backward_data_plan(s);
  const RowsMemory memory(plan, true, false, scratch);
  pack_weights<false>(memory.u, w, s.c, s.o);
  const Rows map(s);
  if (s.stride != 1 && !accumulate)
    cpu::set_bytes(dx, 0, static_cast<size_t>(s.n * s.h * s.w * s.c) * sizeof(float));
  const ConvEpilogue e{.residual = accumulate ? dx : nullptr};
  RowsProduct{.y = dx,
              .x = dy,
              .u = memory.u,
              .map = map,
              .gather = false,
              .scatter = s.stride != 1,
              .e = e,
              .plan = plan,
              .packed = memory.packed,
              .sums = BlockSums(nullptr, 0)}
      .run();
}

size_t prepared_bytes(const ConvShape& s) {
  return static_cast<size_t>(packed_floats(s.o, s.c)) * sizeof(float);
}
void prepare(void* prepared, const float* w, const ConvShape& s) {
  pack_weights<true>(static_cast<float*>(prepared), w, s.o, s.c);
}

}  // namespace
}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace espalier::cpu {

bool pointwise_fits(const ConvShape& s) { return s.kh == 1 && s.kw == 1 && s.pad == 0 && s.groups == 1; }
size_t pointwise_prepared_bytes(const ConvShape& s) { return ESP_DISPATCH(prepared_bytes)(s); }
void pointwise_prepare(void* prepared, const float* w, const ConvShape& s) {
  ESP_DISPATCH(prepare)(prepared, w, s);
}
size_t pointwise_forward_scratch(const ConvShape& s, const ConvEpilogue& e) {
  return ESP_DISPATCH(forward_scratch)(s, e);
}
void pointwise_forward(float* y, const float* x, const float* w, const void* prepared, const ConvEpilogue& e,
                       const ConvShape& s, void* scratch) {
  ESP_DISPATCH(run_forward)(y, x, w, prepared, e, s, scratch);
}
size_t pointwise_backward_data_scratch(const ConvShape& s) { return ESP_DISPATCH(backward_data_scratch)(s); }
void pointwise_backward_data(float* dx, const float* dy, const float* w, const ConvShape& s, bool accumulate,
                             void* scratch) {
  ESP_DISPATCH(run_backward_data)(dx, dy, w, s, accumulate, scratch);
}

}  // namespace espalier::cpu
#endif
