#include "espalier/core/cpu/conv/patches_conv.h"

#include "core/cpu/conv/conv_case.h"

namespace espalier::patches_conv_test {
namespace {

/// Only forward. What is handed over as the weight is prepared first, for the kernel takes nothing else.
constexpr ConvKernels patches{.forward_scratch = cpu::patches_forward_scratch,
                              .forward =
                                  [](float* y, const float* x, const float* w, const void*,
                                     const ConvEpilogue& e, const ConvShape& s, void* scratch) {
                                    Guarded prepared(cpu::patches_prepared_bytes(s));
                                    cpu::patches_prepare(prepared.raw(), w, s);
                                    cpu::patches_forward(y, x, prepared.raw(), e, s, scratch);
                                  },
                              .backward_data_scratch = nullptr,
                              .backward_data = nullptr,
                              .backward_weights_scratch = nullptr,
                              .backward_weights = nullptr};

// {n, h, w, c, o, kh, kw, stride, pad}
const ConvShape large_shapes[] = {
    {1, 3, 4, 150, 203, 3, 3, 1, 1},  // what it is for: few pixels, many weights
    {3, 5, 5, 171, 175, 3, 3, 2, 1},  // several images and two tiles of pixels
    {2, 9, 7, 37, 101, 5, 3, 1, 1},   // more pixels than it serves
    {1, 6, 5, 19, 64, 3, 2},          // no padding
    {2, 8, 7, 19, 64, 3, 2, {2, 1}, {1, 0, 0, 2}, 1, DType::f32, {1, 3}},  // axes and sides of their own
};

/// 1 to 60 output channels; the lists' lengths have no common factor, so that all of them meet.
std::vector<ConvShape> small_shapes() {
  constexpr int64_t maps[][2] = {{1, 1}, {2, 3}, {3, 3}, {5, 4}, {7, 9}};
  constexpr int64_t depths[] = {1, 2, 3, 15, 16, 17, 33};
  constexpr int64_t windows[][4] = {{3, 3, 1, 1}, {3, 3, 2, 1}, {1, 3, 1, 1}, {2, 2, 2, 1},
                                    {5, 5, 1, 2}, {1, 1, 1, 0}, {3, 3, 1, 3}, {4, 2, 3, 2},
                                    {5, 5, 3, 4}, {3, 2, 1, 2}, {2, 5, 1, 4}};  // kh, kw, stride, pad
  std::vector<ConvShape> shapes;
  for (int64_t i = 0; i < 60; ++i) {
    const auto [h, w] = maps[i % 5];
    const auto [kh, kw, stride, pad] = windows[i % 11];
    shapes.push_back({1 + i % 3, h, w, depths[i % 7], 1 + i, kh, kw, stride, pad});
  }
  return shapes;
}

constexpr double tolerance = 1e-5;

TEST(PatchesConv, Forward) {
  for_shapes(small_shapes(), large_shapes,
             [](const ConvCase& c, ThreadCounts counts) { check_forward(patches, c, tolerance, counts); });
}
TEST(PatchesConv, KeepsNaN) {
  check_nan(patches, {2, 5, 7, 17, 33, 3, 3, 1, 1});
  check_nan(patches, {2, 5, 7, 16, 64, 3, 3, 2, 1});
}

TEST(PatchesConv, FitsFewPixelsAndManyWeights) {
  EXPECT_TRUE(cpu::patches_fit({1, 4, 4, 512, 512, 3, 3, 1, 1}));
  EXPECT_TRUE(cpu::patches_fit({4, 2, 2, 512, 512, 3, 3, 1, 1})) << "pixels of all images count";
  EXPECT_TRUE(cpu::patches_fit({1, 8, 8, 512, 512, 3, 3, 2, 1})) << "those that are left by a stride, too";
  for (const ConvShape& s : {ConvShape{2, 4, 4, 512, 512, 3, 3, 1, 1}, ConvShape{1, 4, 4, 64, 64, 3, 3, 1, 1},
                             ConvShape{1, 4, 4, 4096, 32, 3, 3, 1, 1}, ConvShape{1, 4, 4, 1024, 1024, 1, 1},
                             ConvShape{1, 4, 4, 512, 512, 3, 3, 1, 1, 2}})
    EXPECT_FALSE(cpu::patches_fit(s)) << name(s);
}

}  // namespace
}  // namespace espalier::patches_conv_test
