// Which kernel serves a product of activations, by name.
#pragma once

#include <string>

#include "espalier/core/kernels.h"

namespace espalier::cpu {

/// "product" with oneDNN's name of what it runs: "product (brg:avx512_core)".
std::string matmul_served_by(const MatmulShape& s);

}  // namespace espalier::cpu
