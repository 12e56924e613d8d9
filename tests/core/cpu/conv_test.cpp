#include <gtest/gtest.h>

#include "espalier/core/kernels.h"
#include "support/numbers.h"
#include "support/threads.h"

namespace espalier {
namespace {

// {n, h, w, c, o, kh, kw, stride, pad, groups}
const ConvShape shapes[] = {
    {2, 12, 12, 1, 20, 5, 5},           // LeNet-5's first: one input channel
    {3, 8, 8, 20, 50, 5, 5},            // and its second
    {2, 7, 9, 37, 101, 3, 3, 1, 1},     // channels that fill no vector, width unlike height
    {1, 9, 7, 16, 32, 3, 3, 2, 1},      // stride
    {2, 8, 8, 3, 7, 3, 3, 2, 0},        // stride that leaves a row out
    {2, 6, 6, 8, 12, 3, 3, 1, 1, 4},    // groups
    {2, 7, 7, 15, 30, 3, 3, 1, 1, 3},   // groups of odd width
    {1, 6, 6, 17, 17, 3, 3, 1, 1, 17},  // depthwise
    {2, 6, 6, 9, 18, 3, 3, 2, 1, 9},    // depthwise, two outputs a channel
    {2, 5, 5, 33, 17, 1, 1},            // pointwise
    {2, 5, 5, 33, 17, 1, 1, 2},         // pointwise with stride
    {2, 5, 6, 3, 5, 1, 3, 1, 0},        // a window that is not square
    {3, 4, 4, 5, 1, 4, 4},              // one output number an image
    {17, 3, 3, 7, 15, 3, 3, 1, 2},      // padding that reaches past the image
};

Tensor scratch(size_t bytes) { return Tensor::empty({static_cast<int64_t>(bytes)}, DType::u8); }

class Conv : public testing::TestWithParam<ConvShape> {
 protected:
  const ConvShape s = GetParam();
  const WithThreads two{2};
  const int64_t gc = s.c / s.groups, go = s.o / s.groups;
  const Floats x = random_floats(s.n * s.h * s.w * s.c, 1), w = random_floats(s.o * s.kh * s.kw * gc, 2),
               b = random_floats(s.o, 3), dy = random_floats(s.n * s.out_h() * s.out_w() * s.o, 4);

  /// body(number in y, number in w, number in x) for every product of the convolution
  template <class Body>
  void for_products(const Body& body) const {
    for (int64_t n = 0; n < s.n; ++n)
      for (int64_t oy = 0; oy < s.out_h(); ++oy)
        for (int64_t ox = 0; ox < s.out_w(); ++ox)
          for (int64_t o = 0; o < s.o; ++o)
            for (int64_t ky = 0; ky < s.kh; ++ky)
              for (int64_t kx = 0; kx < s.kw; ++kx) {
                const int64_t y = oy * s.stride - s.pad + ky, p = ox * s.stride - s.pad + kx;
                if (y < 0 || y >= s.h || p < 0 || p >= s.w) continue;
                for (int64_t c = 0; c < gc; ++c)
                  body(static_cast<size_t>(((n * s.out_h() + oy) * s.out_w() + ox) * s.o + o),
                       static_cast<size_t>(((o * s.kh + ky) * s.kw + kx) * gc + c),
                       static_cast<size_t>(((n * s.h + y) * s.w + p) * s.c + o / go * gc + c));
              }
  }
};

TEST_P(Conv, Forward) {
  for (const bool bias : {false, true}) {
    Doubles expected(dy.size());
    for (size_t i = 0; i < expected.size(); ++i) expected[i] = bias ? b[i % b.size()] : 0.0;
    for_products([&](size_t yi, size_t wi, size_t xi) { expected[yi] += double{x[xi]} * w[wi]; });
    Floats y(dy.size(), 5.0f);
    Tensor block = scratch(cpu::conv2d_forward_scratch(s, {.shift = bias ? b.data() : nullptr}));
    cpu::conv2d_forward(y.data(), x.data(), w.data(), nullptr, {.shift = bias ? b.data() : nullptr}, s,
                        block.raw());
    EXPECT_TRUE(near(y, expected, 1e-5)) << "bias " << bias;
  }
}

TEST_P(Conv, BackwardData) {
  Doubles expected(x.size());
  for_products([&](size_t yi, size_t wi, size_t xi) { expected[xi] += double{dy[yi]} * w[wi]; });
  check_output(expected, 1e-5, [&](float* dx, bool accumulate) {
    Tensor block = scratch(cpu::conv2d_backward_data_scratch(s, accumulate));
    cpu::conv2d_backward_data(dx, dy.data(), w.data(), s, accumulate, block.raw());
  });
}

TEST_P(Conv, BackwardWeights) {
  Doubles expected(w.size());
  for_products([&](size_t yi, size_t wi, size_t xi) { expected[wi] += double{dy[yi]} * x[xi]; });
  check_output(expected, 1e-5, [&](float* dw, bool accumulate) {
    Tensor block = scratch(cpu::conv2d_backward_weights_scratch(s, accumulate));
    cpu::conv2d_backward_weights(dw, dy.data(), x.data(), s, accumulate, block.raw());
  });
}

TEST_P(Conv, SameThreadsSameBits) {
  Tensor forward = scratch(cpu::conv2d_forward_scratch(s, {.shift = b.data()})),
         weights = scratch(cpu::conv2d_backward_weights_scratch(s, false));
  Floats first(dy.size()), first_dw(w.size());
  cpu::conv2d_forward(first.data(), x.data(), w.data(), nullptr, {.shift = b.data()}, s, forward.raw());
  cpu::conv2d_backward_weights(first_dw.data(), dy.data(), x.data(), s, false, weights.raw());
  for (int i = 0; i < 3; ++i) {
    Floats y(dy.size()), dw(w.size());
    cpu::conv2d_forward(y.data(), x.data(), w.data(), nullptr, {.shift = b.data()}, s, forward.raw());
    cpu::conv2d_backward_weights(dw.data(), dy.data(), x.data(), s, false, weights.raw());
    ASSERT_TRUE(same_bits(first, y));
    ASSERT_TRUE(same_bits(first_dw, dw));
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Conv, testing::ValuesIn(shapes), [](const auto& info) {
  const ConvShape& s = info.param;
  return "c" + std::to_string(s.c) + "o" + std::to_string(s.o) + "k" + std::to_string(s.kh) + "x" +
         std::to_string(s.kw) + "s" + std::to_string(s.stride) + "p" + std::to_string(s.pad) + "g" +
         std::to_string(s.groups);
});

}  // namespace
}  // namespace espalier
