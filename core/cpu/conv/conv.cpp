// Which kernel serves a convolution: a fixed rule of its shape and the instruction set.
#include "espalier/core/cpu/conv/conv.h"

#include <algorithm>

#include "espalier/core/cpu/conv/depthwise.h"
#include "espalier/core/cpu/conv/direct_conv.h"
#include "espalier/core/cpu/conv/patches_conv.h"
#include "espalier/core/cpu/conv/pointwise.h"
#include "espalier/core/cpu/conv/taps_weights.h"
#include "espalier/core/cpu/conv/winograd.h"
#include "espalier/core/cpu/statistics.h"
#include "espalier/core/isa.h"

namespace espalier::cpu {
namespace {

/// Multiplications of the direct algorithm for a channel of one image, padding left out, and of Winograd's 36
/// a tile of 4x4 outputs: on maps of 2x2 it has more.
bool winograd_multiplies_less(const ConvShape& s) {
  const int64_t pad = s.pad.top;  // of all sides
  const auto taps = [&](int64_t out) { return 3 * out - pad * (pad + 1); };
  const auto tiles = [](int64_t out) { return (out + 3) / 4; };
  return 36 * tiles(s.out_h()) * tiles(s.out_w()) < taps(s.out_h()) * taps(s.out_w());
}

/// Winograd's transforms pay from 8 channels on; and it must have tiles enough to make its weights' transform
/// worthwhile.
bool by_winograd(const ConvShape& s) {
  const int64_t pixels = s.n * s.out_h() * s.out_w();
  return winograd_fits(s) && isa() != Isa::baseline && s.c >= 8 && s.o >= 8 && pixels >= 512 &&
         winograd_multiplies_less(s);
}

/// Below 64 channels oneDNN's 1x1 is faster by more than a pass for the epilogue costs.
bool by_pointwise(const ConvShape& s) {
  return pointwise_fits(s) && isa() != Isa::baseline && s.c >= 64 && s.o >= 64;
}

/// Only backward weights: from 64 channels on the taps' products are faster than oneDNN's strided
/// convolution, which reaches 58 % of what a large product does; and there are shapes that oneDNN gets wrong.
bool by_taps(const ConvShape& s) {
  return isa() != Isa::baseline && taps_fit(s) &&
         ((s.c >= 64 && s.o >= 64) || !direct_fits(s, Direction::backward_weights));
}

/// Only forward, and only with prepared weights: to lay them out takes longer than the convolution.
bool by_patches(const ConvShape& s) { return isa() != Isa::baseline && patches_fit(s); }

/// Where images come from memory and rows are long enough for a vector's taps to pay (what lies in cache, and
/// short rows, oneDNN does faster); backward weights of 5x5 windows everywhere, which it does by its
/// reference.
bool by_depthwise(const ConvShape& s, Direction direction) {
  if (!depthwise_fits(s) || isa() == Isa::baseline) return false;
  if (direction == Direction::backward_weights && s.kh == 5) return true;
  const int64_t numbers = s.n * (s.h * s.w + s.out_h() * s.out_w()) * s.c;
  return numbers >= 3 << 20 && s.w >= (s.kh == 3 ? 12 : 24);
}

NormShape pixels_of(const ConvShape& s) { return {s.n * s.out_h() * s.out_w(), s.o}; }

size_t forward_scratch(const ConvShape& s, const ConvEpilogue& e) {
  if (by_winograd(s)) return winograd_forward_scratch(s, e);
  if (by_pointwise(s)) return pointwise_forward_scratch(s, e);
  if (by_depthwise(s, Direction::forward)) return depthwise_forward_scratch(s, e);
  const size_t direct = direct_forward_scratch(s, e);
  return by_patches(s) ? std::max(direct, patches_forward_scratch(s, e)) : direct;
}
void forward(float* y, const float* x, const float* w, const void* prepared, const ConvEpilogue& e,
             const ConvShape& s, void* scratch) {
  if (by_winograd(s)) return winograd_forward(y, x, w, e, s, scratch);
  if (by_patches(s) && prepared) return patches_forward(y, x, prepared, e, s, scratch);
  const auto run = by_pointwise(s)                       ? pointwise_forward
                   : by_depthwise(s, Direction::forward) ? depthwise_forward
                                                         : direct_forward;
  run(y, x, w, prepared, e, s, scratch);
}

}  // namespace

const char* conv2d_algorithm(const ConvShape& s) {
  return by_winograd(s)                        ? "winograd"
         : by_pointwise(s)                     ? "pointwise"
         : by_depthwise(s, Direction::forward) ? "depthwise"
                                               : "direct";
}

size_t conv2d_prepared_bytes(const ConvShape& s) {
  if (by_winograd(s)) return 0;
  if (by_patches(s)) return patches_prepared_bytes(s);
  if (by_depthwise(s, Direction::forward)) return depthwise_prepared_bytes(s);
  return by_pointwise(s) ? pointwise_prepared_bytes(s) : direct_prepared_bytes(s);
}
void conv2d_prepare(void* prepared, const float* w, const ConvShape& s) {
  if (by_patches(s)) return patches_prepare(prepared, w, s);
  const auto run = by_pointwise(s)                       ? pointwise_prepare
                   : by_depthwise(s, Direction::forward) ? depthwise_prepare
                                                         : direct_prepare;
  run(prepared, w, s);
}

size_t conv2d_forward_scratch(const ConvShape& s, const ConvEpilogue& e) {
  const size_t bytes = forward_scratch(s, e);
  return e.statistics.mean ? std::max(bytes, channel_statistics_scratch(pixels_of(s))) : bytes;
}
void conv2d_forward(float* y, const float* x, const float* w, const void* prepared, const ConvEpilogue& e,
                    const ConvShape& s, void* scratch) {
  forward(y, x, w, prepared, e, s, scratch);
  const ChannelStatistics& to = e.statistics;
  if (to.mean && far_from_center(to, s.o))
    channel_statistics({to.mean, to.variance, to.mean}, y, pixels_of(s), scratch);
}

size_t conv2d_backward_data_scratch(const ConvShape& s, bool accumulate) {
  if (by_winograd(s)) return winograd_backward_data_scratch(s);
  if (by_depthwise(s, Direction::backward_data)) return depthwise_backward_data_scratch(s);
  return by_pointwise(s) ? pointwise_backward_data_scratch(s) : direct_backward_data_scratch(s, accumulate);
}
void conv2d_backward_data(float* dx, const float* dy, const float* w, const ConvShape& s, bool accumulate,
                          void* scratch) {
  const auto run = by_winograd(s)                              ? winograd_backward_data
                   : by_pointwise(s)                           ? pointwise_backward_data
                   : by_depthwise(s, Direction::backward_data) ? depthwise_backward_data
                                                               : direct_backward_data;
  run(dx, dy, w, s, accumulate, scratch);
}

size_t conv2d_backward_weights_scratch(const ConvShape& s, bool accumulate) {
  if (by_winograd(s)) return winograd_backward_weights_scratch(s);
  if (by_depthwise(s, Direction::backward_weights)) return depthwise_backward_weights_scratch(s);
  return by_taps(s) ? taps_backward_weights_scratch(s) : direct_backward_weights_scratch(s, accumulate);
}
void conv2d_backward_weights(float* dw, const float* dy, const float* x, const ConvShape& s, bool accumulate,
                             void* scratch) {
  const auto run = by_winograd(s)                                 ? winograd_backward_weights
                   : by_taps(s)                                   ? taps_backward_weights
                   : by_depthwise(s, Direction::backward_weights) ? depthwise_backward_weights
                                                                  : direct_backward_weights;
  run(dw, dy, x, s, accumulate, scratch);
}

std::string conv2d_served_by(const ConvShape& s, Direction direction, bool prepared, const ConvEpilogue& e) {
  if (by_patches(s) && prepared && direction == Direction::forward) return "patches";
  if (depthwise_fits(s)) {
    if (by_depthwise(s, direction)) return "depthwise";
    return std::string("direct (") + direct_implementation(s, direction, e) + ")";
  }
  const std::string name = conv2d_algorithm(s);
  if (name == "direct" && direction == Direction::backward_weights && by_taps(s)) return "taps";
  return name == "direct" ? name + " (" + direct_implementation(s, direction, e) + ")" : name;
}

}  // namespace espalier::cpu
