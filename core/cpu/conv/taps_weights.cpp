// How it runs: dw [O,C] of a tap = dy' x, the pixels being the depth of the product. Blocks of both are
// packed so that the product reads them as streams.
#include "espalier/core/cpu/conv/taps_weights.h"

#include <algorithm>

#include "espalier/core/cpu/pieces.h"
#include "espalier/core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "espalier/core/cpu/conv/taps_weights.cpp"
#include <hwy/foreach_target.h>  // first: what follows is compiled once for each instruction set

#include <hwy/highway.h>

#include "espalier/core/cpu/conv/product-inl.h"
#include "espalier/core/cpu/dispatch.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {
namespace {

using cpu::Pieces;

/// The pixels of dy [N,out_h,out_w] for which a tap of the window [Kh,Kw] lies inside the image, and where it
/// lies in x [N,H,W].
class TapRows {
 public:
  struct Row {
    int64_t of_dy, of_x;
  };
  TapRows(const ConvShape& s, int64_t tap)
      : s_(s),
        shift_y_(tap / s.kw * s.dilation.down - s.pad.top),
        shift_x_(tap % s.kw * s.dilation.across - s.pad.left),
        ys_(inside(shift_y_, s.stride.down, s.h, s.out_h())),
        xs_(inside(shift_x_, s.stride.across, s.w, s.out_w())) {}
  int64_t count() const { return s_.n * length(ys_) * length(xs_); }
  Row at(int64_t row) const {
    if (same_) return {row, row};
    const int64_t wide = length(xs_), high = length(ys_);
    const int64_t x = xs_.begin + row % wide, y = ys_.begin + row / wide % high, n = row / wide / high;
    return {(n * s_.out_h() + y) * s_.out_w() + x,
            (n * s_.h + y * s_.stride.down + shift_y_) * s_.w + x * s_.stride.across + shift_x_};
  }

 private:
  static int64_t length(Range range) { return range.end - range.begin; }
  /// The places p of 0 .. out-1 with 0 <= p stride + shift < size.
  static Range inside(int64_t shift, int64_t stride, int64_t size, int64_t out) {
    const int64_t begin = std::min(out, parts_of(std::max<int64_t>(0, -shift), stride));
    return {begin, std::clamp(parts_of(std::max<int64_t>(0, size - shift), stride), begin, out)};
  }

  const ConvShape s_;
  const int64_t shift_y_, shift_x_;
  const Range ys_, xs_;
  const bool same_ = s_.kh == 1 && s_.kw == 1 && s_.pad == 0 && s_.stride == 1;
};

/// What of dw each thread makes. Small weights (of one tap): all of it, over its share of the rows; large
/// ones: a share of the outputs' or of the inputs', whichever are more, over all rows.
struct WeightsPlan {
  WeightsPlan(const ConvShape& s, void* memory) : taps(s.kh * s.kw), c(rounded_up(s.c, lanes)) {
    const int64_t rows = s.n * s.out_h() * s.out_w();
    by_rows = s.o * c <= 128 << 10;
    by_inputs = !by_rows && s.c > s.o;
    const int64_t shares = by_rows     ? parts_of(rows, 64)
                           : by_inputs ? parts_of(s.c, panel)
                                       : parts_of(s.o, tile_rows);
    parts = static_cast<int>(std::min<int64_t>(threads(), shares));
    const int64_t mine = by_rows ? parts_of(rows, parts) : rows;
    block = parts_of(mine, parts_of(mine, 128));
    d_stride = plane_of(s.o);
    Pieces pieces(memory);
    packed = pieces.take(parts * packed_size(s));
    du = pieces.take((by_rows ? parts : 1) * s.o * stride());
    bytes = pieces.bytes();
  }
  /// Of a thread: a block of x as panels, and of dy.
  int64_t x_size(const ConvShape& s) const { return parts_of(s.c, panel) * block * panel; }
  int64_t packed_size(const ConvShape& s) const { return x_size(s) + block * d_stride; }
  int64_t stride() const { return taps * c; }  ///< from one output's du to the next's
  Range outputs(const ConvShape& s, int part) const {
    return by_rows || by_inputs ? Range{0, s.o} : part_of(s.o, part, parts);
  }
  Range inputs(const ConvShape& s, int part) const {
    if (!by_inputs) return {0, s.c};
    const Range panels = part_of(parts_of(s.c, panel), part, parts);
    return {panels.begin * panel, std::min(s.c, panels.end * panel)};
  }
  int64_t taps, c;  // c rounded up to whole vectors
  bool by_rows, by_inputs;
  int parts;
  int64_t block, d_stride;
  float *packed, *du;
  size_t bytes;
};

/// A thread's share of dw, and how it is made.
struct Share {
  const WeightsPlan& plan;
  const ConvShape& s;
  const float *dy, *x;
  int part;
  Range outputs = plan.outputs(s, part), inputs = plan.inputs(s, part);
  float* v = plan.packed + part * plan.packed_size(s);  ///< a block of x: [inputs / panel][block][panel]
  float* d = v + plan.x_size(s);                        ///< and of dy: [block][outputs]
  float* du = plan.du + ((plan.by_rows ? part * s.o : outputs.begin) * plan.stride() + inputs.begin);

  int64_t inputs_count() const { return inputs.end - inputs.begin; }
  int64_t outputs_count() const { return outputs.end - outputs.begin; }
  const float* x_row(TapRows::Row row) const { return x + row.of_x * s.c + inputs.begin; }
  const float* dy_row(TapRows::Row row) const { return dy + row.of_dy * s.o + outputs.begin; }

  /// Asks for the cache lines of rows `block` of x and dy, one a call, so that the next block is on its way
  /// while this one is multiplied: memory takes a third as long as the product does.
  struct Ahead {
    const Share& share;
    const TapRows& map;
    Range block;
    int64_t line = 0;  // the next to be asked for, of row block.begin
    TapRows::Row row = block.begin < block.end ? map.at(block.begin) : TapRows::Row{};

    int64_t x_lines() const { return parts_of(share.inputs_count(), cache_line); }
    int64_t row_lines() const { return x_lines() + parts_of(share.outputs_count(), cache_line); }
    int64_t lines() const { return (block.end - block.begin) * row_lines(); }
    HWY_INLINE void ask() {
      if (block.begin >= block.end) return;
      const int64_t in_dy = line - x_lines();
      hwy::Prefetch(in_dy < 0 ? share.x_row(row) + line * cache_line
                              : share.dy_row(row) + in_dy * cache_line);
      if (++line == row_lines()) {
        line = 0;
        if (++block.begin < block.end) row = map.at(block.begin);
      }
    }
  };

  HWY_INLINE void pack(const TapRows& map, Range block) const {
    const int64_t wide = inputs_count(), high = outputs_count();
    for (int64_t r = block.begin; r < block.end; ++r) {
      const int64_t at = r - block.begin;
      const TapRows::Row row = map.at(r);
      const float *from_x = x_row(row), *from_dy = dy_row(row);
      for_vectors(0, wide, [&](auto tail, int64_t k) HWY_ATTR {
        hn::StoreU(load(tail, from_x + k, wide - k), Floats(),
                   v + (k / panel * plan.block + at) * panel + k % panel);
      });
      for_vectors(0, high, [&](auto tail, int64_t k) HWY_ATTR {
        hn::StoreU(load(tail, from_dy + k, high - k), Floats(), d + at * plan.d_stride + k);
      });
    }
  }

  /// du [outputs][inputs] of a tap = or += dy' x of rows `block`.
  HWY_INLINE void add_block(const TapRows& map, Range block, Range next, float* to_tap, bool first) const {
    pack(map, block);
    const int64_t wide = inputs_count(), high = outputs_count(), depth = block.end - block.begin,
                  stride = plan.stride();
    const int64_t rows = parts_of(high, parts_of(high, tile_rows));
    Ahead ahead{*this, map, next};
    const int64_t lines =
        parts_of(ahead.lines(), parts_of(wide, panel) * parts_of(high, rows));  // of each tile
    for (int64_t k = 0; k < wide; k += panel) {
      for (int64_t r = 0; r < high; r += rows) {
        float* to = to_tap + r * stride + k;
        with_rows(std::min(rows, high - r), [&](auto count) HWY_ATTR {
          const auto run = [&](auto vectors) HWY_ATTR {
            RegisterTile<count, vectors> tile;
            first ? tile.clear() : tile.load(to, stride);
            multiply_transposed(tile, d + r, plan.d_stride, v + k * plan.block, panel, depth, lines,
                                [&]() HWY_ATTR { ahead.ask(); });
            tile.store(to, stride);
          };
          if (wide - k > lanes)
            run(std::integral_constant<int, 2>());
          else
            run(std::integral_constant<int, 1>());
        });
      }
    }
  }

  void run() const {
    for (int64_t tap = 0; tap < plan.taps; ++tap) {
      const TapRows map(s, tap);
      const Range rows = plan.by_rows ? part_of(map.count(), part, plan.parts) : Range{0, map.count()};
      const auto block_at = [&](int64_t r) {
        return Range{std::min(r, rows.end), std::min(r + plan.block, rows.end)};
      };
      int64_t r = rows.begin;
      do  // once at least: a tap that meets no row has a gradient, too, 0
        add_block(map, block_at(r), block_at(r + plan.block), du + tap * plan.c, r == rows.begin);
      while ((r += plan.block) < rows.end);
    }
  }
};

size_t backward_weights_scratch(const ConvShape& s) { return WeightsPlan(s, nullptr).bytes; }
void run_backward_weights(float* dw, const float* dy, const float* x, const ConvShape& s, bool accumulate,
                          void* scratch) {
  const WeightsPlan plan(s, scratch);
  parallel_parts(plan.parts, [&](int part) HWY_ATTR {
    Share{.plan = plan, .s = s, .dy = dy, .x = x, .part = part}.run();
  });
  const int copies = plan.by_rows ? plan.parts : 1;
  parallel_for(s.o * plan.taps, std::max<int64_t>(1, 16384 / s.c), [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t i = begin; i < end; ++i) {  // output i / taps, tap i % taps
      for_vectors(0, s.c, [&](auto tail, int64_t k) HWY_ATTR {
        auto sum = hn::LoadU(Floats(), plan.du + i * plan.c + k);
        for (int copy = 1; copy < copies; ++copy)
          sum = hn::Add(sum, hn::LoadU(Floats(), plan.du + (copy * s.o * plan.taps + i) * plan.c + k));
        put(tail, sum, dw + i * s.c + k, s.c - k, accumulate);
      });
    }
  });
}

}  // namespace
}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace espalier::cpu {

bool taps_fit(const ConvShape& s) { return s.groups == 1; }
size_t taps_backward_weights_scratch(const ConvShape& s) { return ESP_DISPATCH(backward_weights_scratch)(s); }
void taps_backward_weights(float* dw, const float* dy, const float* x, const ConvShape& s, bool accumulate,
                           void* scratch) {
  ESP_DISPATCH(run_backward_weights)(dw, dy, x, s, accumulate, scratch);
}

}  // namespace espalier::cpu
#endif
