// The rows of a 1x1 convolution's product.
#pragma once

#include "espalier/core/kernels.h"

namespace espalier::cpu {

/// Which pixel of a larger image each pixel of a strided one is.
struct Rows {
  explicit Rows(const ConvShape& s)
      : count(s.n * s.out_h() * s.out_w()),
        h(s.h),
        w(s.w),
        out_h(s.out_h()),
        out_w(s.out_w()),
        stride(s.stride) {}
  int64_t large(int64_t row) const {
    if (stride == 1) return row;
    const int64_t x = row % out_w, y = row / out_w % out_h, n = row / (out_w * out_h);
    return (n * h + y * stride.down) * w + x * stride.across;
  }
  int64_t count, h, w, out_h, out_w;
  ByAxis stride;
};

}  // namespace espalier::cpu
