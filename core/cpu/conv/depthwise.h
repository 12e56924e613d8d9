// Depthwise convolutions, each channel by a window of its own: 3x3 and 5x5 at strides of 1 and 2, in all
// three directions: kernels.h's conv2d_* for these shapes.
#pragma once

#include "espalier/core/kernels.h"

namespace espalier::cpu {

/// True for as many groups as inputs and outputs, windows of 3x3 or 5x5, strides of 1 or 2, no dilation, and
/// the same padding on all sides, less than the window.
bool depthwise_fits(const ConvShape& s);

/// Bytes of the weight with channels innermost, and the weight so.
size_t depthwise_prepared_bytes(const ConvShape& s);
void depthwise_prepare(void* prepared, const float* w, const ConvShape& s);

size_t depthwise_forward_scratch(const ConvShape& s, const ConvEpilogue& e);
void depthwise_forward(float* y, const float* x, const float* w, const void* prepared, const ConvEpilogue& e,
                       const ConvShape& s, void* scratch);
size_t depthwise_backward_data_scratch(const ConvShape& s);
void depthwise_backward_data(float* dx, const float* dy, const float* w, const ConvShape& s, bool accumulate,
                             void* scratch);
size_t depthwise_backward_weights_scratch(const ConvShape& s);
void depthwise_backward_weights(float* dw, const float* dy, const float* x, const ConvShape& s,
                                bool accumulate, void* scratch);

}  // namespace espalier::cpu
