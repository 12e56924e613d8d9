#include "espalier/core/cpu/conv/depthwise.h"

#include "core/cpu/conv/conv_case.h"

namespace espalier::depthwise_test {
namespace {

constexpr ConvKernels depthwise{
    cpu::depthwise_forward_scratch,
    cpu::depthwise_forward,
    [](const ConvShape& s, bool) { return cpu::depthwise_backward_data_scratch(s); },
    cpu::depthwise_backward_data,
    [](const ConvShape& s, bool) { return cpu::depthwise_backward_weights_scratch(s); },
    cpu::depthwise_backward_weights};

ConvShape shape(int64_t n, int64_t h, int64_t w, int64_t c, int64_t k, int64_t stride, int64_t pad) {
  return {n, h, w, c, c, k, k, stride, pad, c};
}

const ConvShape large_shapes[] = {
    shape(3, 20, 37, 40, 3, 1, 1),  // tiles of every width
    shape(2, 21, 70, 33, 3, 2, 1),  // and
    shape(2, 23, 36, 24, 5, 1, 2),  // rows
    shape(2, 22, 41, 17, 5, 2, 2),  // of odd and even sizes
    shape(5, 3, 3, 300, 3, 1, 1),   // maps that are all edge
    shape(70, 6, 5, 20, 3, 2, 0),   // many images
};

/// The lists' lengths have no common factor, so that all of them meet; padding as the window has it, and
/// others.
std::vector<ConvShape> small_shapes() {
  constexpr int64_t maps[][2] = {{1, 1}, {2, 3}, {3, 3}, {4, 4}, {5, 7}, {8, 8}, {9, 13}, {12, 6}, {7, 19}};
  constexpr int64_t widths[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64};
  constexpr int64_t windows[][3] = {{3, 1, 1}, {3, 2, 1}, {5, 1, 2}, {5, 2, 2}, {3, 1, 0},
                                    {3, 2, 0}, {3, 2, 2}, {3, 1, 2}, {5, 2, 1}, {5, 1, 0},
                                    {5, 2, 4}, {5, 1, 4}, {5, 2, 3}};
  std::vector<ConvShape> shapes;
  for (int64_t i = 0; i < 300; ++i) {
    const auto [h, w] = maps[i % 9];
    const auto [k, stride, pad] = windows[i % 13];
    const ConvShape s = shape(1 + i % 4, h, w, widths[i % 11], k, stride, pad);
    if (s.down().fits(h) && s.across().fits(w)) shapes.push_back(s);
  }
  return shapes;
}

constexpr double tolerance = 1e-5;

TEST(Depthwise, Forward) {
  for_shapes(small_shapes(), large_shapes,
             [](const ConvCase& c, ThreadCounts counts) { check_forward(depthwise, c, tolerance, counts); });
}
TEST(Depthwise, BackwardData) {
  for_shapes(small_shapes(), large_shapes, [](const ConvCase& c, ThreadCounts counts) {
    check_backward_data(depthwise, c, tolerance, counts);
  });
}
TEST(Depthwise, BackwardWeights) {
  for_shapes(small_shapes(), large_shapes, [](const ConvCase& c, ThreadCounts counts) {
    check_backward_weights(depthwise, c, tolerance, counts);
  });
}
TEST(Depthwise, Prepared) {
  for (const ConvShape& s : large_shapes)
    EXPECT_TRUE(check_prepared(depthwise, cpu::depthwise_prepared_bytes, cpu::depthwise_prepare, s));
}
TEST(Depthwise, KeepsNaN) {
  check_nan(depthwise, shape(2, 9, 13, 17, 3, 1, 1));
  check_nan(depthwise, shape(2, 9, 13, 16, 5, 2, 2));
}

TEST(Depthwise, FitsWhatItCanDo) {
  const ConvShape s = shape(1, 8, 8, 16, 3, 1, 1);
  EXPECT_TRUE(cpu::depthwise_fits(s));
  EXPECT_TRUE(cpu::depthwise_fits(shape(1, 8, 8, 16, 5, 2, 4)));
  for (const auto& change :
       std::vector<void (*)(ConvShape&)>{[](ConvShape& c) { c.stride = 3; },
                                         [](ConvShape& c) {
                                           c.stride = {1, 2};
                                         },
                                         [](ConvShape& c) { c.kh = c.kw = 7; },
                                         [](ConvShape& c) { c.kw = 5; }, [](ConvShape& c) { c.o = 32; },
                                         [](ConvShape& c) { c.groups = 8; }, [](ConvShape& c) { c.pad = 3; },
                                         [](ConvShape& c) {
                                           c.pad = {0, 0, 1, 1};
                                         },
                                         [](ConvShape& c) {
                                           c.dilation = {1, 2};
                                         }}) {
    ConvShape other = s;
    change(other);
    EXPECT_FALSE(cpu::depthwise_fits(other)) << name(other);
  }
}

}  // namespace
}  // namespace espalier::depthwise_test
