// What penalties do that add a sign: the gradient of a sum of magnitudes.
#pragma once

#include "espalier/core/kernels.h"
#include "espalier/nn/parameter.h"

namespace espalier {

/// dL/dw += weight sign(w), for all w or, of a parameter's rows, where `where` (u8) says.
inline void add_signs(Parameter& parameter, const Tensor& where, double weight) {
  ESP_RUN(parameter.value().device(),
          add_signs(parameter.gradient().f32(), parameter.value().f32(), where.data<uint8_t>(),
                    static_cast<float>(weight), parameter.value().elements()));
}

}  // namespace espalier
