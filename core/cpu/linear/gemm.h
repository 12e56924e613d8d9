// Which kernel serves a linear layer, by name.
#pragma once

#include <string>

#include "espalier/core/cpu/direction.h"
#include "espalier/core/kernels.h"

namespace espalier::cpu {

/// "rows", "pointwise" (a prepared weight, forward) or "product" with oneDNN's name of what it runs: "product
/// (brg:avx512_core)"; as the rule has it, whatever was autotuned.
std::string linear_served_by(const LinearShape& s, Direction direction, bool prepared);

}  // namespace espalier::cpu
