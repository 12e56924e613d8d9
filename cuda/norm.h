// What a convolution by a library leaves to do to its output.
#pragma once

#include "espalier/core/kernels.h"

namespace espalier::cuda {

/// y [rows,channels] = f(y scale + shift + residual) in place, then statistics of y where they are wanted
/// (ConvEpilogue): one launch, y read once, and written once if anything changes it. A center that is null
/// stands for zeros.
size_t convolution_epilogue_scratch(bool statistics, int64_t rows, int64_t channels);
void convolution_epilogue(float* y, const ConvEpilogue& e, int64_t rows, int64_t channels, void* scratch);
void convolution_epilogue(bf16* y, const ConvEpilogueOf<bf16>& e, int64_t rows, int64_t channels,
                          void* scratch);

}  // namespace espalier::cuda
