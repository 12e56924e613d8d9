// Backward weights of a convolution of one group as matrix products: one for each tap of the window, of the
// pixels that the tap meets inside the image. A 1x1 convolution has one tap.
#pragma once

#include "espalier/core/kernels.h"

namespace espalier::cpu {

/// True for one group, at any window, strides, dilation and padding.
bool taps_fit(const ConvShape& s);

size_t taps_backward_weights_scratch(const ConvShape& s);
void taps_backward_weights(float* dw, const float* dy, const float* x, const ConvShape& s, bool accumulate,
                           void* scratch);

}  // namespace espalier::cpu
