// Linear layers on a few rows: memory-bound, so each weight is read once, in order, and used for every row.
#pragma once

#include "espalier/core/kernels.h"

namespace espalier::cpu {

/// Up to so many rows it is faster than a matrix product: 6.7 us against 19 for an MLP 784-256-128-10 on one
/// row, 8.2 against 19 on four (two Zen 5 cores, AVX-512); the weights then come from the second-level cache
/// at some 35 bytes a cycle and core.
constexpr int64_t gemv_rule_rows = 4;
/// Beyond so many it is not worth timing.
constexpr int64_t gemv_most_rows = 32;

/// y = x w' + b; b may be null.
void gemv(float* y, const float* x, const float* w, const float* b, const LinearShape& s);

}  // namespace espalier::cpu
