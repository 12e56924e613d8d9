#include "espalier/onnx/layout.h"

#include <gtest/gtest.h>

namespace espalier {
namespace {

const OnnxDims image{1, 3, 4, 5};  // N, C, H, W

TEST(Layout, SaysHowSizesLie) {
  EXPECT_EQ(plain_layout(3), (OnnxLayout{0, 1, 2}));
  EXPECT_EQ(in_memory(image, image_layout), (OnnxDims{1, 4, 5, 3}));
  EXPECT_EQ(moves(plain_layout(4), image_layout), (std::vector<int64_t>{0, 2, 3, 1}));
  EXPECT_EQ(moves(image_layout, plain_layout(4)), (std::vector<int64_t>{0, 3, 1, 2}));
}

TEST(Layout, ATransposeChangesItAlone) {
  // To [N,H,W,C], as images lie already; and back.
  const OnnxLayout after = transposed_layout(image_layout, {0, 2, 3, 1});
  EXPECT_EQ(after, plain_layout(4));
  EXPECT_EQ(transposed_layout(after, {0, 3, 1, 2}), image_layout);
}

TEST(Layout, AReshapeOfWholeAxesKeepsIt) {
  EXPECT_EQ(reshaped_layout(image, image_layout, {1, 3, 20}), (OnnxLayout{0, 2, 1}));  // pixels in one
  EXPECT_EQ(reshaped_layout({1, 3, 20}, {0, 2, 1}, image), image_layout);              // and apart
  EXPECT_EQ(reshaped_layout(image, plain_layout(4), {1, 60}), plain_layout(2));
  EXPECT_EQ(reshaped_layout(image, image_layout, {1, 60}), std::nullopt);  // channels would move
  EXPECT_EQ(reshaped_layout({1, 4, 2, 1}, image_layout, {1, 2, 2, 2, 1}),
            (OnnxLayout{0, 4, 3, 1, 2}));                                     // in groups
  EXPECT_EQ(reshaped_layout(image, image_layout, {1, 12, 5}), std::nullopt);  // channels and rows in one
  EXPECT_EQ(reshaped_layout({1, 3, 1, 1}, image_layout, {1, 3}), plain_layout(2));
}

}  // namespace
}  // namespace espalier
