// Operands of an op: activations of one type, and parameters, which are f32, beside them.
#pragma once

#include "espalier/autograd/fixed_weights.h"
#include "espalier/core/kernels.h"

namespace espalier::ops {

/// Error unless both are of one type.
inline void check_dtype(const char* op, const Tensor& found, const Tensor& expected) {
  ESP_CHECK(found.dtype() == expected.dtype(), op, ": types differ, ", dtype_name(expected.dtype()), " and ",
            dtype_name(found.dtype()));
}

/// The weight as a product with x reads it: itself, or rounded to x's type; while weights are fixed that is
/// kept.
inline Tensor operand(const Tensor& w, const Tensor& x) {
  return w.dtype() == x.dtype() ? w : FixedWeights::kept(w, {}, [&] { return w.to(x.dtype()); });
}

/// x [...,C] as rows of C.
inline NormShape rows_of(const Shape& x) { return {x.elements() / x[-1], x[-1]}; }

}  // namespace espalier::ops
