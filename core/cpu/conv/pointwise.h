// 1x1 convolutions of one group, and linear layers, as matrix products on rows of pixels: kernels.h's
// conv2d_* and linear_* for these shapes.
#pragma once

#include "espalier/core/kernels.h"

namespace espalier::cpu {

/// True for a 1x1 convolution of one group without padding, at any strides.
bool pointwise_fits(const ConvShape& s);

/// Bytes of the weight as panels of columns, and the weight so.
size_t pointwise_prepared_bytes(const ConvShape& s);
void pointwise_prepare(void* prepared, const float* w, const ConvShape& s);

size_t pointwise_forward_scratch(const ConvShape& s, const ConvEpilogue& e);
void pointwise_forward(float* y, const float* x, const float* w, const void* prepared, const ConvEpilogue& e,
                       const ConvShape& s, void* scratch);
size_t pointwise_backward_data_scratch(const ConvShape& s);
void pointwise_backward_data(float* dx, const float* dy, const float* w, const ConvShape& s, bool accumulate,
                             void* scratch);

}  // namespace espalier::cpu
