#include "espalier/core/cpu/conv/patches_conv.h"

#include <algorithm>

#include "espalier/core/cpu/conv/pointwise.h"
#include "espalier/core/cpu/pieces.h"
#include "espalier/core/parallel.h"

namespace espalier::cpu {
namespace {

/// The 1x1 convolution over patches: w [O,Kh,Kw,C] as it lies in memory is its weight.
ConvShape as_pointwise(const ConvShape& s) {
  return {
      .n = 1, .h = 1, .w = s.n * s.out_h() * s.out_w(), .c = s.kh * s.kw * s.c, .o = s.o, .kh = 1, .kw = 1};
}

/// The patch of one output pixel, [Kh,Kw,C], zeros where it reaches past the image.
void copy_patch(float* to, const float* image, int64_t y, int64_t x, const ConvShape& s) {
  for (int64_t ky = 0; ky < s.kh; ++ky)
    for (int64_t kx = 0; kx < s.kw; ++kx, to += s.c) {
      const int64_t row = y * s.stride.down - s.pad.top + ky * s.dilation.down,
                    column = x * s.stride.across - s.pad.left + kx * s.dilation.across;
      const bool inside = row >= 0 && row < s.h && column >= 0 && column < s.w;
      if (inside)
        std::copy_n(image + (row * s.w + column) * s.c, s.c, to);
      else
        std::fill_n(to, s.c, 0.0f);
    }
}

}  // namespace

bool patches_fit(const ConvShape& s) {
  constexpr int64_t most_pixels = 28,
                    least_weights = 1 << 18;  // two register tiles; more than a cache of a core
  return s.groups == 1 && s.kh * s.kw > 1 && s.n * s.out_h() * s.out_w() <= most_pixels && s.o >= 64 &&
         s.kh * s.kw * s.c * s.o >= least_weights;
}

size_t patches_prepared_bytes(const ConvShape& s) { return pointwise_prepared_bytes(as_pointwise(s)); }
void patches_prepare(void* prepared, const float* w, const ConvShape& s) {
  pointwise_prepare(prepared, w, as_pointwise(s));
}

size_t patches_forward_scratch(const ConvShape& s, const ConvEpilogue& e) {
  const ConvShape product = as_pointwise(s);
  Pieces pieces(nullptr);
  pieces.take(product.w * product.c);
  return pieces.bytes() + pointwise_forward_scratch(product, e);
}

void patches_forward(float* y, const float* x, const void* prepared, const ConvEpilogue& e,
                     const ConvShape& s, void* scratch) {
  const ConvShape product = as_pointwise(s);
  Pieces pieces(scratch);
  float* const patches = pieces.take(product.w * product.c);
  const int64_t width = s.out_w(), pixels = s.out_h() * width;
  parallel_for(product.w, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      copy_patch(patches + i * product.c, x + i / pixels * s.h * s.w * s.c, i % pixels / width, i % width, s);
  });
  pointwise_forward(y, patches, nullptr, prepared, e, product, static_cast<char*>(scratch) + pieces.bytes());
}

}  // namespace espalier::cpu
