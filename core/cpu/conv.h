// Which kernel serves a convolution, by name.
#pragma once

#include "espalier/core/kernels.h"

namespace espalier::cpu {

/// "winograd", "pointwise" or "direct"
const char* conv2d_algorithm(const ConvShape& s);

}  // namespace espalier::cpu
