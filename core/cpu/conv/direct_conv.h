// Convolutions of any shape by oneDNN, direct: kernels.h's conv2d_* where no kernel of our own is faster.
#pragma once

#include <string>

#include "espalier/core/cpu/direction.h"
#include "espalier/core/kernels.h"

namespace espalier::cpu {

/// False for what oneDNN 2.6.3 gets wrong (github.com/uxlfoundation/oneDNN, issue 6035): backward weights of
/// a strided 1x1 window on fewer input channels than a vector has. Its jit_1x1 gathers the strided pixels in
/// a workspace of pixels x channels, but places a block of them at pixel x vector: it writes over another
/// thread's pixels, over its own barrier (threads wait for ever) and past the scratch. No larger scratch
/// mends that.
bool direct_fits(const ConvShape& s, Direction direction);

/// oneDNN's name of the code it runs, forward with this epilogue: "jit:avx512_core"; one with "ref" is its
/// slow reference.
std::string direct_implementation(const ConvShape& s, Direction direction, const ConvEpilogue& e = {});

/// Bytes of the weight in oneDNN's layout; 0 if that is ours.
size_t direct_prepared_bytes(const ConvShape& s);
void direct_prepare(void* prepared, const float* w, const ConvShape& s);

/// A shift, and relu where nothing stands between, are oneDNN's own; the rest of the epilogue is passes over
/// y.
size_t direct_forward_scratch(const ConvShape& s, const ConvEpilogue& e);
void direct_forward(float* y, const float* x, const float* w, const void* prepared, const ConvEpilogue& e,
                    const ConvShape& s, void* scratch);
size_t direct_backward_data_scratch(const ConvShape& s, bool accumulate);
void direct_backward_data(float* dx, const float* dy, const float* w, const ConvShape& s, bool accumulate,
                          void* scratch);
size_t direct_backward_weights_scratch(const ConvShape& s, bool accumulate);
void direct_backward_weights(float* dw, const float* dy, const float* x, const ConvShape& s, bool accumulate,
                             void* scratch);

}  // namespace espalier::cpu
