#include "espalier/core/cpu/conv/taps_weights.h"

#include "core/cpu/conv/conv_case.h"

namespace espalier::taps_weights_test {
namespace {

// {n, h, w, c, o, kh, kw, stride, pad}
const ConvShape large_shapes[] = {
    {3, 20, 21, 40, 37, 1, 1},        // several blocks of rows a thread
    {3, 31, 20, 24, 130, 1, 1, 2},    // and with stride
    {1, 12, 11, 2050, 40, 1, 1},      // many inputs
    {1, 3, 5, 200, 700, 1, 1},        // many outputs for few rows
    {2, 8, 9, 301, 500, 1, 1},        // dw too large for a copy a thread: shares of the outputs
    {2, 8, 9, 501, 300, 1, 1},        // or of the inputs
    {2, 17, 14, 70, 65, 3, 3, 2, 1},  // what ResNet-50 has
    {1, 7, 6, 261, 517, 3, 3, 2, 1},  // with shares of the outputs
    {1, 7, 6, 517, 261, 3, 3, 2, 1},  // and of the inputs
    {3, 12, 11, 20, 33, 5, 2, 3, 2},  // a window that is not square
    {9, 3, 3, 33, 40, 3, 3, 1, 1},    // corners that meet four pixels of nine
    {5, 1, 1, 33, 40, 3, 3, 1, 1},    // taps that meet no pixel
    {2, 2, 3, 17, 19, 5, 5, 2, 4},    // padding wider than the image
    {2, 3, 2, 17, 19, 4, 3, 1, 3},    // and a window larger than the image
    {3, 11, 12, 20, 33, 3, 5, {3, 2}, {1, 0, 2, 4}, 1, DType::f32, {2, 3}},  // axes and sides of their own
    {2, 4, 5, 33, 17, 3, 3, 1, 4, 1, DType::f32, 4},                         // taps that meet no pixel
};

/// 1 to 101 output channels; the lists' lengths have no common factor, as in winograd_test.
std::vector<ConvShape> small_shapes() {
  constexpr int64_t maps[][2] = {{1, 1}, {2, 3}, {3, 3}, {4, 4}, {5, 7}, {8, 8}, {9, 13}};
  constexpr int64_t depths[] = {1, 2, 15, 16, 17, 31, 33, 64, 100, 128, 300};
  constexpr int64_t windows[] = {1, 3};
  std::vector<ConvShape> shapes;
  for (int64_t i = 0; i < 101; ++i) {
    const auto [h, w] = maps[i % 7];
    const int64_t k = windows[i / 5 % 2];
    shapes.push_back({1 + i % 5, h, w, depths[i % 11], 1 + i, k, k, 1 + i % 3, k / 2});
  }
  return shapes;
}

TEST(TapsWeights, BackwardWeights) {
  for_shapes(small_shapes(), large_shapes,
             [](const ConvCase& c, ThreadCounts counts) { check_backward_weights(taps, c, 1e-5, counts); });
}

TEST(TapsWeights, FitOneGroup) {
  EXPECT_TRUE(cpu::taps_fit({1, 8, 8, 16, 16, 3, 3, 2, 1}));
  EXPECT_FALSE(cpu::taps_fit({1, 8, 8, 16, 16, 3, 3, 2, 1, 2}));
}

}  // namespace
}  // namespace espalier::taps_weights_test
