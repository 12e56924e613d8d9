// How it runs: for a row of outputs and a vector of channels, the taps stay in registers while the row's
// columns stream past: each column is loaded once, and added to the sums of all outputs that it is met by,
// which wait in registers until their last column has been. What limits large images is memory: the next row
// is asked for while this one is computed.
#include "espalier/core/cpu/conv/depthwise.h"

#include <algorithm>

#include "espalier/core/cpu/pieces.h"
#include "espalier/core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "espalier/core/cpu/conv/depthwise.cpp"
#include <hwy/foreach_target.h>  // first: what follows is compiled once for each instruction set

#include <hwy/highway.h>

#include "espalier/core/cpu/conv/epilogue-inl.h"
#include "espalier/core/cpu/conv/product-inl.h"
#include "espalier/core/cpu/dispatch.h"

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {
namespace {

using cpu::Pieces;

/// Images [n,h,w,c].
struct Pictures {
  int64_t n, h, w, c;
  int64_t rows() const { return n * h; }
  int64_t row() const { return w * c; }  ///< floats
};
Pictures inputs_of(const ConvShape& s) { return {s.n, s.h, s.w, s.c}; }
Pictures outputs_of(const ConvShape& s) { return {s.n, s.out_h(), s.out_w(), s.c}; }

/// Rows that a thread should have at least, and that sums in single precision are taken over at most.
int64_t rows_of_block(const Pictures& p) { return std::clamp<int64_t>(32768 / p.row(), 1, 64); }

/// From one tap of the packed weight to the next.
int64_t tap_step(const ConvShape& s) { return rounded_up(s.c, lanes); }
int64_t packed_floats(const ConvShape& s) { return s.kh * s.kw * tap_step(s); }

/// w [C,K,K] as [K K][channels], its taps in order, or turned by 180 degrees.
void pack(float* HWY_RESTRICT to, const float* HWY_RESTRICT w, const ConvShape& s, bool turned) {
  const int64_t taps = s.kh * s.kw, step = tap_step(s);
  for (int64_t tap = 0; tap < taps; ++tap) {
    const float* from = w + (turned ? taps - 1 - tap : tap);
    for (int64_t c = 0; c < s.c; ++c) to[tap * step + c] = from[c * taps];
    for (int64_t c = s.c; c < step; ++c) to[tap * step + c] = 0.0f;
  }
}

/// The outputs along an axis whose windows lie entirely on the image.
Range whole_windows(int64_t k, int64_t stride, int64_t pad, int64_t in, int64_t out) {
  const int64_t begin = std::min(out, parts_of(pad, stride)), room = in + pad - k;
  return {begin, std::clamp<int64_t>(room < 0 ? 0 : room / stride + 1, begin, out)};
}

/// Asks for memory in its order, some lines a call.
struct Ahead {
  const float* next;
  const float* end;
  HWY_INLINE void ask(int64_t lines) {
    for (; lines > 0 && next < end; --lines, next += cache_line) __builtin_prefetch(next, 0, 2);
  }
};

/// The rows of an image that a row of the result comes from, and the row of taps that each meets.
template <int max_rows>
struct Lines {
  int count = 0;
  const float* from[max_rows];
  int64_t ky[max_rows];
  void add(const float* row, int64_t tap) { from[count] = row, ky[count++] = tap; }
};

/// y = the epilogue of x * w, of k x k windows.
template <int k, int stride>
struct Correlation {
  float* y;
  const float *x, *w;  // w: packed
  int64_t w_step, pad;
  Pictures in, out;
  bool accumulate;
  const ConvEpilogue& e;
  BlockSums sums;
  bool changes = e.scale || e.shift || e.residual || in_registers(e.f);  ///< the outputs, not only counts
  static constexpr int waiting = (k - 1) / stride;  // outputs after the one that a column is the first of

  /// A row of outputs. Columns come `stride` at a time, step a: those from a stride - pad on. Column r of
  /// them is met by the taps r + b stride of the outputs a - b.
  template <int rows, class Tail>
  HWY_INLINE void channels(Tail tail, const Lines<k>& lines, int64_t i, float* to) const {
    const int64_t c = in.c;
    FloatVector tap[rows][k], sum[waiting + 1];
    const float* HWY_RESTRICT from[rows];
#pragma GCC unroll 5
    for (int row = 0; row < rows; ++row) {
      from[row] = lines.from[row] + i - pad * c;
#pragma GCC unroll 5
      for (int kx = 0; kx < k; ++kx)
        tap[row][kx] = hn::LoadU(Floats(), w + (lines.ky[row] * k + kx) * w_step + i);
    }
#pragma GCC unroll 5
    for (int t = 0; t <= waiting; ++t) sum[t] = hn::Zero(Floats());
    const auto step = [&](auto is_inside, int64_t a) HWY_ATTR {
#pragma GCC unroll 2
      for (int r = 0; r < stride; ++r) {
        if constexpr (!is_inside)
          if (const int64_t column = a * stride + r - pad; column < 0 || column >= in.w) continue;
#pragma GCC unroll 5
        for (int row = 0; row < rows; ++row) {
          const auto value = load(tail, from[row] + (a * stride + r) * c, c - i);
#pragma GCC unroll 5
          for (int kx = r; kx < k; kx += stride)
            sum[waiting - kx / stride] = hn::MulAdd(value, tap[row][kx], sum[waiting - kx / stride]);
        }
      }
      const int64_t done = a - waiting;
      if (is_inside || (done >= 0 && done < out.w)) put(tail, sum[0], to + done * c + i, c - i, accumulate);
#pragma GCC unroll 5
      for (int t = 0; t < waiting; ++t) sum[t] = sum[t + 1];
      sum[waiting] = hn::Zero(Floats());
    };
    const int64_t end = out.w + waiting;
    const Range inside{std::min<int64_t>(end, std::max<int64_t>(waiting, parts_of(pad, stride))),
                       std::min(end, (in.w + pad) / stride)};
    int64_t a = 0;
    for (; a < inside.begin; ++a) step(std::false_type(), a);
    for (; a < inside.end; ++a) step(std::true_type(), a);
    for (; a < end; ++a) step(std::false_type(), a);
  }

  /// The epilogue of the channels from i on, while the row is in the first cache.
  template <class Tail>
  HWY_INLINE void finish(Tail tail, int64_t i, int64_t place, float* block_sums) const {
    const int64_t c = in.c, end = place + out.row();
    const ConvEpilogue mine = e;  // which no store of floats can change
    OutputChannels<false, Tail> to(mine, i, c - i);
    if (changes) {
      for (int64_t at = place + i; at < end; at += c) to.put(load(tail, y + at, c - i), y, at);
    } else {
      for (int64_t at = place + i; at < end; at += c) to.count(load(tail, y + at, c - i));
    }
    to.finish(block_sums, c);
  }

  HWY_INLINE void run_row(int64_t row, int64_t last_row, float* block_sums) const {
    const int64_t image = row / out.h, top = row % out.h * stride - pad, place = row * out.row();
    Lines<k> lines;
    for (int64_t ky = std::max<int64_t>(0, -top); ky < std::min<int64_t>(k, in.h - top); ++ky)
      lines.add(x + (image * in.h + top + ky) * in.row(), ky);
    const float* after = x + std::min(in.rows(), image * in.h + std::min(in.h, top + k)) * in.row();
    Ahead ahead{after,
                row + 1 < last_row ? std::min(after + stride * in.row(), x + in.rows() * in.row()) : after};
    const int64_t asks = parts_of(stride * in.row(), cache_line * parts_of(in.c, lanes));
    with_rows<k>(lines.count, [&](auto rows) HWY_ATTR {
      for_vectors(0, in.c, [&](auto tail, int64_t i) HWY_ATTR {
        ahead.ask(asks);
        channels<rows>(tail, lines, i, y + place);
        if (!plain(e)) finish(tail, i, place, block_sums);
      });
    });
  }

  void run() const {
    const int64_t each = rows_of_block(out), blocks = parts_of(out.rows(), each);
    sums.clear(blocks);
    parallel_for(blocks, 1, [&](int64_t begin, int64_t end) HWY_ATTR {
      for (int64_t b = begin; b < end; ++b)
        for (int64_t row = b * each; row < std::min(out.rows(), (b + 1) * each); ++row)
          run_row(row, std::min(out.rows(), end * each), sums.sum(b));
    });
    sums.merge(e.statistics, blocks, out.rows() * out.w);
  }
};

/// dx of dy by a stride of 2. Pixels are counted from the padding's corner, u: window a gives to the pixels 2
/// a + kx, the first two of which nothing is added to after it.
template <int k>
struct BackwardDataBy2 {
  float* dx;
  const float *dy, *w;  // w: packed
  int64_t w_step, pad;
  Pictures in, out;
  bool accumulate;
  static constexpr int most_lines = (k + 1) / 2;

  template <int rows, class Tail>
  HWY_INLINE void channels(Tail tail, const Lines<most_lines>& lines, int64_t i, float* to) const {
    const int64_t c = in.c;
    FloatVector tap[rows][k], sum[k + 1];
    const float* HWY_RESTRICT from[rows];
#pragma GCC unroll 3
    for (int row = 0; row < rows; ++row) {
      from[row] = lines.from[row] + i;
#pragma GCC unroll 5
      for (int kx = 0; kx < k; ++kx)
        tap[row][kx] = hn::LoadU(Floats(), w + (lines.ky[row] * k + kx) * w_step + i);
    }
#pragma GCC unroll 6
    for (int t = 0; t <= k; ++t) sum[t] = hn::Zero(Floats());
    float* const pixels = to + i - pad * c;
    const auto step = [&](auto is_inside, int64_t a) HWY_ATTR {
      if (is_inside || a < out.w) {
#pragma GCC unroll 3
        for (int row = 0; row < rows; ++row) {
          const auto value = load(tail, from[row] + a * c, c - i);
#pragma GCC unroll 5
          for (int kx = 0; kx < k; ++kx) sum[kx] = hn::MulAdd(value, tap[row][kx], sum[kx]);
        }
      }
#pragma GCC unroll 2
      for (int r = 0; r < 2; ++r)
        if (is_inside || (2 * a + r >= pad && 2 * a + r < in.w + pad))
          put(tail, sum[r], pixels + (2 * a + r) * c, c - i, accumulate);
#pragma GCC unroll 6
      for (int t = 0; t + 2 <= k; ++t) sum[t] = sum[t + 2];
      sum[k - 1] = hn::Zero(Floats());
    };
    const int64_t end = parts_of(in.w + pad, 2);
    const Range inside{parts_of(pad, 2), std::min(out.w, (in.w + pad) / 2)};
    int64_t a = 0;
    for (; a < std::min(end, inside.begin); ++a) step(std::false_type(), a);
    for (; a < inside.end; ++a) step(std::true_type(), a);
    for (; a < end; ++a) step(std::false_type(), a);
  }

  HWY_INLINE void run_row(int64_t row, int64_t last_row) const {
    const int64_t image = row / in.h, v = row % in.h + pad;
    Lines<most_lines> lines;
    for (int64_t ky = v % 2; ky < k && ky <= v; ky += 2)
      if (const int64_t at = (v - ky) / 2; at < out.h) lines.add(dy + (image * out.h + at) * out.row(), ky);
    float* to = dx + row * in.row();
    if (lines.count == 0) {  // no window meets it
      if (!accumulate) std::fill_n(to, in.row(), 0.0f);
      return;
    }
    const float* after = dy + std::min(out.rows(), image * out.h + std::min(out.h, v / 2 + 1)) * out.row();
    Ahead ahead{after, row + 1 < last_row ? std::min(after + out.row(), dy + out.rows() * out.row()) : after};
    const int64_t asks = parts_of(out.row(), cache_line * parts_of(in.c, lanes));
    with_rows<most_lines>(lines.count, [&](auto rows) HWY_ATTR {
      for_vectors(0, in.c, [&](auto tail, int64_t i) HWY_ATTR {
        ahead.ask(asks);
        channels<rows>(tail, lines, i, to);
      });
    });
  }

  void run() const {
    parallel_for(in.rows(), rows_of_block(in), [&](int64_t begin, int64_t end) HWY_ATTR {
      for (int64_t row = begin; row < end; ++row) run_row(row, end);
    });
  }
};

/// A thread's part of dw, [K K][channels].
template <int k, int stride>
struct WeightSums {
  float* sums;
  const float *dy, *x;
  int64_t step, pad;
  Pictures in, out;

  /// Taps ky .. ky + rows - 1 at the outputs `at` of one row. corner: of the window of output 0.
  template <int rows>
  HWY_INLINE void add(const float* corner, const float* of_dy, int64_t ky, Range at, Range whole) const {
    const int64_t c = in.c;
    for_vectors(0, c, [&](auto tail, int64_t i) HWY_ATTR {
      FloatVector sum[rows * k];
#pragma GCC unroll 10
      for (int t = 0; t < rows * k; ++t) sum[t] = hn::Zero(Floats());
      const auto add_at = [&](auto is_whole, int64_t a) HWY_ATTR {
        const auto gradient = load(tail, of_dy + a * c + i, c - i);
        const float* HWY_RESTRICT from = corner + ky * in.row() + a * stride * c + i;
#pragma GCC unroll 3
        for (int r = 0; r < rows; ++r)
#pragma GCC unroll 5
          for (int kx = 0; kx < k; ++kx) {
            if constexpr (!is_whole)
              if (const int64_t p = a * stride - pad + kx; p < 0 || p >= in.w) continue;
            sum[r * k + kx] =
                hn::MulAdd(gradient, load(tail, from + r * in.row() + kx * c, c - i), sum[r * k + kx]);
          }
      };
      int64_t a = at.begin;
      for (; a < std::min(at.end, whole.begin); ++a) add_at(std::false_type(), a);
      for (; a < std::min(at.end, whole.end); ++a) add_at(std::true_type(), a);
      for (; a < at.end; ++a) add_at(std::false_type(), a);
#pragma GCC unroll 10
      for (int t = 0; t < rows * k; ++t)
        put(std::false_type(), sum[t], sums + (ky * k + t) * step + i, lanes, true);
    });
  }

  HWY_INLINE void run_row(int64_t row) const {
    constexpr int64_t columns = 16;  // of a tile, so that it stays in the first cache
    const int64_t image = row / out.h, top = row % out.h * stride - pad;
    const int64_t first = std::max<int64_t>(0, -top), last = std::min<int64_t>(k, in.h - top);
    const float* corner = x + (image * in.h + top) * in.row() - pad * in.c;
    const float* of_dy = dy + row * out.row();
    const Range whole = whole_windows(k, stride, pad, in.w, out.w);
    constexpr int max_rows = k == 3 ? 3 : 2;  // rows of taps whose sums fill AVX2's registers
    for (int64_t begin = 0; begin < out.w; begin += columns) {
      const Range at{begin, std::min(begin + columns, out.w)};
      int64_t ky = first;
      for (; ky + max_rows <= last; ky += max_rows) add<max_rows>(corner, of_dy, ky, at, whole);
      for (; ky < last; ++ky) add<1>(corner, of_dy, ky, at, whole);
    }
  }
};

/// Calls body(the window's side, the stride), constants.
template <class Body>
void with_window(const ConvShape& s, const Body& body) {
  const auto with_stride = [&](auto k) {
    if (s.stride == 1)
      body(k, std::integral_constant<int, 1>());
    else
      body(k, std::integral_constant<int, 2>());
  };
  if (s.kh == 3)
    with_stride(std::integral_constant<int, 3>());
  else
    with_stride(std::integral_constant<int, 5>());
}

size_t prepared_bytes(const ConvShape& s) { return static_cast<size_t>(packed_floats(s)) * sizeof(float); }
void prepare(void* prepared, const float* w, const ConvShape& s) {
  pack(static_cast<float*>(prepared), w, s, false);
}

struct ForwardMemory {
  ForwardMemory(const ConvShape& s, bool statistics, void* block) {
    Pieces pieces(block);
    packed = pieces.take(packed_floats(s));
    const Pictures out = outputs_of(s);
    if (statistics) sums = pieces.take(BlockSums::floats(parts_of(out.rows(), rows_of_block(out)), s.c));
    bytes = pieces.bytes();
  }
  float *packed, *sums = nullptr;
  size_t bytes;
};

size_t forward_scratch(const ConvShape& s, const ConvEpilogue& e) {
  return ForwardMemory(s, e.statistics.mean != nullptr, nullptr).bytes;
}
void run_forward(float* y, const float* x, const float* w, const void* prepared, const ConvEpilogue& e,
                 const ConvShape& s, void* scratch) {
  const ForwardMemory memory(s, e.statistics.mean != nullptr, scratch);
  if (!prepared) pack(memory.packed, w, s, false);
  const float* taps = prepared ? static_cast<const float*>(prepared) : memory.packed;
  with_window(s, [&](auto k, auto stride) {
    Correlation<k, stride>{y,
                           x,
                           taps,
                           tap_step(s),
                           s.pad.top,
                           inputs_of(s),
                           outputs_of(s),
                           false,
                           e,
                           BlockSums(memory.sums, s.c)}
        .run();
  });
  run_other_activation(y, e, outputs_of(s).rows() * outputs_of(s).row());
}

size_t backward_data_scratch(const ConvShape& s) { return prepared_bytes(s); }
void run_backward_data(float* dx, const float* dy, const float* w, const ConvShape& s, bool accumulate,
                       void* scratch) {
  auto* const packed = static_cast<float*>(scratch);
  const bool turned = s.stride == 1;  // then it is a correlation itself
  pack(packed, w, s, turned);
  const Pictures in = inputs_of(s), out = outputs_of(s);
  with_window(s, [&](auto k, auto stride) {
    if constexpr (stride == 1)
      Correlation<k, 1>{dx,  dy, packed,     tap_step(s), k - 1 - s.pad.top,
                        out, in, accumulate, {},          BlockSums(nullptr, 0)}
          .run();
    else
      BackwardDataBy2<k>{dx, dy, packed, tap_step(s), s.pad.top, in, out, accumulate}.run();
  });
}

int weights_parts(const ConvShape& s) {
  const Pictures out = outputs_of(s);
  return parts_for(out.rows(), rows_of_block(out));
}
size_t backward_weights_scratch(const ConvShape& s) {
  return prepared_bytes(s) * static_cast<size_t>(weights_parts(s));
}
void run_backward_weights(float* dw, const float* dy, const float* x, const ConvShape& s, bool accumulate,
                          void* scratch) {
  auto* const sums = static_cast<float*>(scratch);
  const int parts = weights_parts(s);
  const int64_t size = packed_floats(s), step = tap_step(s), taps = s.kh * s.kw;
  const Pictures in = inputs_of(s), out = outputs_of(s);
  with_window(s, [&](auto k, auto stride) {
    parallel_parts(parts, [&](int part) HWY_ATTR {
      const WeightSums<k, stride> mine{sums + part * size, dy, x, step, s.pad.top, in, out};
      std::fill_n(mine.sums, size, 0.0f);
      const Range rows = part_of(out.rows(), part, parts);
      for (int64_t row = rows.begin; row < rows.end; ++row) mine.run_row(row);
    });
  });
  for (int64_t c = 0; c < s.c; ++c)
    for (int64_t tap = 0; tap < taps; ++tap) {
      float sum = accumulate ? dw[c * taps + tap] : 0.0f;
      for (int part = 0; part < parts; ++part) sum += sums[part * size + tap * step + c];
      dw[c * taps + tap] = sum;
    }
}

}  // namespace
}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace espalier::cpu {

bool depthwise_fits(const ConvShape& s) {
  return s.groups == s.c && s.groups == s.o && s.kh == s.kw && (s.kh == 3 || s.kh == 5) &&
         (s.stride == 1 || s.stride == 2) && s.dilation == 1 && s.pad.alike() && s.pad.top < s.kh;
}
size_t depthwise_prepared_bytes(const ConvShape& s) { return ESP_DISPATCH(prepared_bytes)(s); }
void depthwise_prepare(void* prepared, const float* w, const ConvShape& s) {
  ESP_DISPATCH(prepare)(prepared, w, s);
}
size_t depthwise_forward_scratch(const ConvShape& s, const ConvEpilogue& e) {
  return ESP_DISPATCH(forward_scratch)(s, e);
}
void depthwise_forward(float* y, const float* x, const float* w, const void* prepared, const ConvEpilogue& e,
                       const ConvShape& s, void* scratch) {
  ESP_DISPATCH(run_forward)(y, x, w, prepared, e, s, scratch);
}
size_t depthwise_backward_data_scratch(const ConvShape& s) { return ESP_DISPATCH(backward_data_scratch)(s); }
void depthwise_backward_data(float* dx, const float* dy, const float* w, const ConvShape& s, bool accumulate,
                             void* scratch) {
  ESP_DISPATCH(run_backward_data)(dx, dy, w, s, accumulate, scratch);
}
size_t depthwise_backward_weights_scratch(const ConvShape& s) {
  return ESP_DISPATCH(backward_weights_scratch)(s);
}
void depthwise_backward_weights(float* dw, const float* dy, const float* x, const ConvShape& s,
                                bool accumulate, void* scratch) {
  ESP_DISPATCH(run_backward_weights)(dw, dy, x, s, accumulate, scratch);
}

}  // namespace espalier::cpu
#endif
