// Also the test of winograd_weights.cpp, of winograd_tiles-inl.h and winograd_transform-inl.h, and, with
// pointwise_test.cpp, of epilogue-inl.h: check_forward runs every kind of epilogue.
#include "espalier/core/cpu/conv/winograd.h"

#include "core/cpu/conv/conv_case.h"

namespace espalier::winograd_test {
namespace {

ConvShape shape(int64_t n, int64_t h, int64_t w, int64_t c, int64_t o, int64_t pad) {
  return {n, h, w, c, o, 3, 3, 1, pad};
}

const ConvShape large_shapes[] = {
    shape(1, 4, 4, 272, 272, 1),   // weights beyond the caches: threads share them by panels
    shape(3, 5, 7, 280, 301, 1),   // and
    shape(40, 2, 2, 3001, 33, 1),  // with more tiles than one block holds
    shape(2, 8, 8, 96, 96, 1),     // dU that all threads share
    shape(70, 2, 2, 101, 96, 1),   // and over several blocks
    shape(5, 40, 38, 16, 17, 1),   // several blocks a thread
    shape(2, 24, 22, 64, 48, 0),   // with wider ones
    shape(7, 16, 16, 3, 8, 2),     // and with very narrow ones
};

/// Maps of less than a tile, of one, of some and a rest; channels of less than a vector, around one and two.
/// The lists' lengths have no common factor: every map meets every number of images, input channels and pad.
std::vector<ConvShape> small_shapes() {
  constexpr int64_t maps[][2] = {{1, 1}, {2, 3}, {3, 3}, {4, 4}, {5, 7}, {8, 8}, {9, 13}};
  constexpr int64_t channels[] = {1, 3, 8, 16, 17, 31, 32, 33, 37, 64, 101};
  std::vector<ConvShape> shapes;
  for (int64_t i = 0; i < 77; ++i) {
    const auto [h, w] = maps[i % 7];
    const ConvShape s = shape(1 + i % 5, h, w, channels[i % 11], channels[(i + i / 11) % 11], i % 3);
    if (s.out_h() > 0 && s.out_w() > 0) shapes.push_back(s);
  }
  return shapes;
}

constexpr double tolerance = 3e-5;

TEST(Winograd, Forward) {
  for_shapes(small_shapes(), large_shapes,
             [](const ConvCase& c, ThreadCounts counts) { check_forward(winograd, c, tolerance, counts); });
}
TEST(Winograd, BackwardData) {
  for_shapes(small_shapes(), large_shapes, [](const ConvCase& c, ThreadCounts counts) {
    check_backward_data(winograd, c, tolerance, counts);
  });
}
TEST(Winograd, BackwardWeights) {
  for_shapes(small_shapes(), large_shapes, [](const ConvCase& c, ThreadCounts counts) {
    check_backward_weights(winograd, c, tolerance, counts);
  });
}
TEST(Winograd, KeepsNaN) {
  check_nan(winograd, shape(2, 9, 13, 17, 33, 1));
  check_nan(winograd, shape(1, 4, 4, 272, 272, 1));
}

TEST(Winograd, FitsWhatItCanDo) {
  const ConvShape s = shape(1, 8, 8, 16, 16, 1);
  EXPECT_TRUE(cpu::winograd_fits(s));
  EXPECT_TRUE(cpu::winograd_fits(shape(1, 8, 8, 16, 16, 2)));
  for (const auto& change : std::vector<void (*)(ConvShape&)>{
           [](ConvShape& c) { c.stride = 2; }, [](ConvShape& c) { c.kh = 1; }, [](ConvShape& c) { c.kw = 5; },
           [](ConvShape& c) { c.groups = 2; }, [](ConvShape& c) { c.pad = 3; },
           [](ConvShape& c) {
             c.pad = {1, 1, 1, 0};
           },
           [](ConvShape& c) {
             c.stride = {1, 2};
           },
           [](ConvShape& c) {
             c.dilation = {1, 2};
           }}) {
    ConvShape other = s;
    change(other);
    EXPECT_FALSE(cpu::winograd_fits(other)) << name(other);
  }
}

}  // namespace
}  // namespace espalier::winograd_test
