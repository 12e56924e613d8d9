// Convolutions with so few output pixels that reading the weights is what takes the time: the last maps of a
// network at batch 1. The pixels' patches, side by side, are the rows of a 1x1 convolution over Kh Kw C
// channels, whose kernel streams prepared weights from memory; forward only.
#pragma once

#include "espalier/core/kernels.h"

namespace espalier::cpu {

/// True where it is faster than the direct convolution, given prepared weights.
bool patches_fit(const ConvShape& s);

size_t patches_prepared_bytes(const ConvShape& s);
void patches_prepare(void* prepared, const float* w, const ConvShape& s);

size_t patches_forward_scratch(const ConvShape& s, const ConvEpilogue& e);
void patches_forward(float* y, const float* x, const void* prepared, const ConvEpilogue& e,
                     const ConvShape& s, void* scratch);

}  // namespace espalier::cpu
