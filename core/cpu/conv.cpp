// Which kernel serves a convolution: a fixed rule of its shape and the instruction set.
#include "espalier/core/cpu/conv.h"

#include <algorithm>

#include "espalier/core/cpu/direct_conv.h"
#include "espalier/core/cpu/pointwise.h"
#include "espalier/core/cpu/winograd.h"
#include "espalier/core/isa.h"

namespace espalier::cpu {
namespace {

/// Winograd's transforms pay from 8 channels on; and it must have tiles enough to make its weights' transform
/// worthwhile.
bool by_winograd(const ConvShape& s) {
  const int64_t pixels = s.n * s.out_h() * s.out_w();
  return winograd_fits(s) && isa() != Isa::baseline && s.c >= 8 && s.o >= 8 && pixels >= 512;
}

/// Below some channels oneDNN's 1x1 is faster, even with an epilogue behind it.
bool by_pointwise(const ConvShape& s) {
  return pointwise_fits(s) && isa() != Isa::baseline && s.c >= 48 && s.o >= 48;
}

NormShape pixels_of(const ConvShape& s) { return {s.n * s.out_h() * s.out_w(), s.o}; }

size_t epilogue_scratch(const ConvShape& s, const ConvEpilogue& e) {
  return e.statistics.mean ? channel_statistics_scratch(pixels_of(s)) : 0;
}
/// The epilogue as passes of their own, behind a convolution that cannot take it along.
void run_epilogue(float* y, const ConvEpilogue& e, const ConvShape& s, void* scratch) {
  if (e.scale || e.shift || e.residual || e.f != Activation::none)
    scale_shift_forward(y, y, e.scale, e.shift, e.residual, e.f, pixels_of(s));
  if (e.statistics.mean) channel_statistics(e.statistics, y, pixels_of(s), scratch);
}

}  // namespace

const char* conv2d_algorithm(const ConvShape& s) {
  return by_winograd(s) ? "winograd" : by_pointwise(s) ? "pointwise" : "direct";
}

size_t conv2d_prepared_bytes(const ConvShape& s) {
  if (by_winograd(s)) return 0;
  return by_pointwise(s) ? pointwise_prepared_bytes(s) : direct_prepared_bytes(s);
}
void conv2d_prepare(void* prepared, const float* w, const ConvShape& s) {
  (by_pointwise(s) ? pointwise_prepare : direct_prepare)(prepared, w, s);
}

size_t conv2d_forward_scratch(const ConvShape& s, const ConvEpilogue& e) {
  if (by_winograd(s)) return winograd_forward_scratch(s, e);
  if (by_pointwise(s)) return pointwise_forward_scratch(s, e);
  return std::max(direct_forward_scratch(s), epilogue_scratch(s, e));
}
void conv2d_forward(float* y, const float* x, const float* w, const void* prepared, const ConvEpilogue& e,
                    const ConvShape& s, void* scratch) {
  if (by_winograd(s)) return winograd_forward(y, x, w, e, s, scratch);
  if (by_pointwise(s)) return pointwise_forward(y, x, w, prepared, e, s, scratch);
  direct_forward(y, x, w, prepared, s, scratch);
  run_epilogue(y, e, s, scratch);
}

size_t conv2d_backward_data_scratch(const ConvShape& s, bool accumulate) {
  if (by_winograd(s)) return winograd_backward_data_scratch(s);
  return by_pointwise(s) ? pointwise_backward_data_scratch(s) : direct_backward_data_scratch(s, accumulate);
}
void conv2d_backward_data(float* dx, const float* dy, const float* w, const ConvShape& s, bool accumulate,
                          void* scratch) {
  const auto run = by_winograd(s)    ? winograd_backward_data
                   : by_pointwise(s) ? pointwise_backward_data
                                     : direct_backward_data;
  run(dx, dy, w, s, accumulate, scratch);
}

size_t conv2d_backward_weights_scratch(const ConvShape& s, bool accumulate) {
  if (by_winograd(s)) return winograd_backward_weights_scratch(s);
  return by_pointwise(s) ? pointwise_backward_weights_scratch(s)
                         : direct_backward_weights_scratch(s, accumulate);
}
void conv2d_backward_weights(float* dw, const float* dy, const float* x, const ConvShape& s, bool accumulate,
                             void* scratch) {
  const auto run = by_winograd(s)    ? winograd_backward_weights
                   : by_pointwise(s) ? pointwise_backward_weights
                                     : direct_backward_weights;
  run(dw, dy, x, s, accumulate, scratch);
}

}  // namespace espalier::cpu
