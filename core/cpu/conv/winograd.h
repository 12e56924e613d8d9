// 3x3 convolution at stride 1 by Winograd's F(4x4,3x3) on NHWC, all three directions: kernels.h's conv2d_*
// for the shapes where it is the fastest.
#pragma once

#include "espalier/core/kernels.h"

namespace espalier::cpu {

/// True if `s` is a shape that Winograd can do: 3x3, stride 1, no dilation, one group, the same padding, of
/// at most 2, on all sides.
bool winograd_fits(const ConvShape& s);

size_t winograd_forward_scratch(const ConvShape& s, const ConvEpilogue& e);
void winograd_forward(float* y, const float* x, const float* w, const ConvEpilogue& e, const ConvShape& s,
                      void* scratch);
size_t winograd_backward_data_scratch(const ConvShape& s);
void winograd_backward_data(float* dx, const float* dy, const float* w, const ConvShape& s, bool accumulate,
                            void* scratch);
size_t winograd_backward_weights_scratch(const ConvShape& s);
void winograd_backward_weights(float* dw, const float* dy, const float* x, const ConvShape& s,
                               bool accumulate, void* scratch);

}  // namespace espalier::cpu
