// What a product or a convolution is asked for.
#pragma once

#include <cstdint>

namespace espalier::cpu {

enum class Direction : int64_t { forward, backward_data, backward_weights };

}  // namespace espalier::cpu
