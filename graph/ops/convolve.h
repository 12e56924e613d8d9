// The forward convolution as conv2d and conv2d_batch_norm both need it.
#pragma once

#include "espalier/graph/ops.h"

namespace espalier::ops {

/// The shape of conv2d's arguments; an Error where they do not fit together.
ConvShape conv_shape(const Variable& x, const Variable& w, const Variable& b, const Conv2dOptions& options);

/// y [N,H',W',O] = the epilogue of x * w, w, and the residual if there is one, of x's type. The
/// epilogue has none of its own.
Tensor convolve(const Tensor& x, const Tensor& w, const ConvShape& s, const ConvEpilogue& epilogue,
                const Tensor& residual = {});

}  // namespace espalier::ops
