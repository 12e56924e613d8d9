#include "espalier/core/cpu/conv/pointwise.h"

#include "core/cpu/conv/conv_case.h"

namespace espalier::pointwise_test {
namespace {

constexpr ConvKernels pointwise{
    cpu::pointwise_forward_scratch,
    cpu::pointwise_forward,
    [](const ConvShape& s, bool) { return cpu::pointwise_backward_data_scratch(s); },
    cpu::pointwise_backward_data,
    nullptr,  // taps_weights_test.cpp
    nullptr};

ConvShape shape(int64_t n, int64_t h, int64_t w, int64_t c, int64_t o, ByAxis stride) {
  return {n, h, w, c, o, 1, 1, stride};
}

const ConvShape large_shapes[] = {
    shape(2, 9, 11, 24, 33, {1, 3}),  // strides by axis
    shape(3, 20, 21, 40, 37, 1),      // several blocks of rows a thread
    shape(3, 31, 20, 24, 130, 2),     // and
    shape(1, 12, 11, 2050, 40, 1),    // few rows a block
    shape(1, 3, 5, 200, 700, 1),      // many panels of columns for few rows
};

/// 1 to 101 output channels; the lists' lengths have no common factor, as in winograd_test.
std::vector<ConvShape> small_shapes() {
  constexpr int64_t maps[][2] = {{1, 1}, {2, 3}, {3, 3}, {4, 4}, {5, 7}, {8, 8}, {9, 13}};
  constexpr int64_t depths[] = {1, 2, 15, 16, 17, 31, 33, 64, 100, 128, 300};
  std::vector<ConvShape> shapes;
  for (int64_t i = 0; i < 101; ++i) {
    const auto [h, w] = maps[i % 7];
    shapes.push_back(shape(1 + i % 5, h, w, depths[i % 11], 1 + i, 1 + i % 3));
  }
  return shapes;
}

constexpr double tolerance = 1e-5;

TEST(Pointwise, Forward) {
  for_shapes(small_shapes(), large_shapes,
             [](const ConvCase& c, ThreadCounts counts) { check_forward(pointwise, c, tolerance, counts); });
}
TEST(Pointwise, BackwardData) {  // pixels that a stride leaves out are 0, or what they were
  for_shapes(small_shapes(), large_shapes, [](const ConvCase& c, ThreadCounts counts) {
    check_backward_data(pointwise, c, tolerance, counts);
  });
}
TEST(Pointwise, Prepared) {
  for_shapes(small_shapes(), large_shapes, [](const ConvCase& c, ThreadCounts) {
    EXPECT_TRUE(check_prepared(pointwise, cpu::pointwise_prepared_bytes, cpu::pointwise_prepare, c.s));
  });
}
TEST(Pointwise, KeepsNaN) {
  check_nan(pointwise, shape(2, 5, 7, 17, 33, 1));
  check_nan(pointwise, shape(2, 5, 7, 48, 64, 1));
}

TEST(Pointwise, FitsWhatItCanDo) {
  EXPECT_TRUE(cpu::pointwise_fits(shape(1, 8, 8, 16, 16, 1)));
  EXPECT_TRUE(cpu::pointwise_fits(shape(1, 8, 8, 16, 16, 3)));
  for (const ConvShape& s :
       {ConvShape{1, 8, 8, 16, 16, 3, 1}, ConvShape{1, 8, 8, 16, 16, 1, 3},
        ConvShape{1, 8, 8, 16, 16, 1, 1, 1, 1}, ConvShape{1, 8, 8, 16, 16, 1, 1, 1, 0, 2}})
    EXPECT_FALSE(cpu::pointwise_fits(s)) << name(s);
}

}  // namespace
}  // namespace espalier::pointwise_test
