// Which kernel serves a convolution, by name.
#pragma once

#include <string>

#include "espalier/core/cpu/direction.h"
#include "espalier/core/kernels.h"

namespace espalier::cpu {

/// "winograd", "pointwise" or "direct"
const char* conv2d_algorithm(const ConvShape& s);
/// The same, with oneDNN's name of what it runs: "direct (jit:avx512_core)"; "patches" where that serves
/// `prepared` weights.
std::string conv2d_served_by(const ConvShape& s, Direction direction, bool prepared, const ConvEpilogue& e);

}  // namespace espalier::cpu
