// Linear layers on a few rows: memory-bound, so each weight is read once, in order, and used for every row.
#pragma once

#include "espalier/core/kernels.h"

namespace espalier::cpu {

/// The most rows for which this is faster than a matrix product (measured: gemv.cpp).
constexpr int64_t gemv_rows = 4;

/// y = x w' + b for s.n <= gemv_rows; b may be null.
void gemv(float* y, const float* x, const float* w, const float* b, const LinearShape& s);

}  // namespace espalier::cpu
