// What moves numbers, and what only seems to.
#include <cmath>

#include "onnx/import_case.h"

namespace espalier {
namespace {

TEST_F(ImportOnnx, TransposesMoveNothingUntilSomethingNeedsIt) {
  OnnxBuilder builder({0, 3, 2, 2});
  builder.node("Transpose", {"x"}, "nhwc", {{"perm", Sizes{0, 2, 3, 1}}});
  builder.floats("norm.weight", {3}, {1, 1, 1});
  builder.floats("norm.bias", {3}, {0, 0, 0});
  builder.node("LayerNormalization", {"nhwc", "norm.weight", "norm.bias"}, "n", {{"axis", int64_t{-1}}});
  builder.floats("w", {3, 2}, {1, 0, 0, 1, 1, 1});
  builder.floats("b", {2}, {1, 2});
  builder.node("MatMul", {"n", "w"}, "m");
  builder.node("Add", {"b", "m"}, "l");
  builder.node("Transpose", {"l"}, "nchw", {{"perm", Sizes{0, 3, 1, 2}}});
  builder.node("GlobalAveragePool", {"nchw"}, "p");
  builder.node("Flatten", {"p"}, "y");
  builder.output("y");
  EXPECT_EQ(ops(builder), (Names{"layer_norm", "linear", "global_average_pool"}));
  // (-1.2247, 0, 1.2247) of each pixel: -1.2247 + 1.2247 + 1, 0 + 1.2247 + 2
  EXPECT_TRUE(near(run(builder, {1, 2, 2, 3}, pixels_and_channels), Doubles{1, 2 + std::sqrt(1.5)}, 1e-5));
}

/// c: the 4 channels of x [N,4,rows,1], two groups of two, by turns.
void add_shuffle(OnnxBuilder& builder, int64_t rows) {
  builder.wholes("groups", {0, 2, 2, rows, 1});
  builder.wholes("whole", {0, 4, rows, 1});
  builder.node("Reshape", {"x", "groups"}, "a");
  builder.node("Transpose", {"a"}, "b", {{"perm", Sizes{0, 2, 1, 3, 4}}});
  builder.node("Reshape", {"b", "whole"}, "c");
}

TEST_F(ImportOnnx, ShufflesChannels) {
  OnnxBuilder builder({0, 4, 1, 1});
  add_shuffle(builder, 1);
  builder.node("Flatten", {"c"}, "y");
  builder.output("y");
  EXPECT_EQ(run(builder, {1, 1, 1, 4}, {0, 1, 2, 3}, {1, 1, 4}), (Floats{0, 2, 1, 3}));
  OnnxBuilder larger({0, 4, 2, 1});
  add_shuffle(larger, 2);
  larger.node("GlobalAveragePool", {"c"}, "p");
  larger.node("Flatten", {"p"}, "y");
  larger.output("y");
  EXPECT_EQ(run(larger, {1, 2, 1, 4}, {0, 1, 2, 3, 10, 11, 12, 13}, {2, 1, 4}), (Floats{5, 7, 6, 8}));
}

TEST_F(ImportOnnx, ReshapesByArithmeticWithShapes) {
  OnnxBuilder builder({0, 3, 2, 2});
  builder.node("Shape", {"x"}, "shape");
  builder.wholes("zero", {0}, true);
  builder.node("Gather", {"shape", "zero"}, "n", {{"axis", int64_t{0}}});
  builder.wholes("axes", {0});
  builder.node("Unsqueeze", {"n", "axes"}, "n1");
  builder.wholes("rest", {-1});
  builder.node("Concat", {"n1", "rest"}, "to", {{"axis", int64_t{0}}});
  builder.node("GlobalAveragePool", {"x"}, "p");
  builder.node("Reshape", {"p", "to"}, "y");
  builder.output("y");
  EXPECT_EQ(ops(builder), Names{"global_average_pool"});
  EXPECT_EQ(run(builder, {1, 2, 2, 3}, pixels_and_channels), (Floats{1.5, 11.5, 21.5}));
}

TEST_F(ImportOnnx, SplitsSlicesAndJoinsChannels) {
  OnnxBuilder builder({0, 4, 1, 1});
  builder.node("Split", {"x"}, "a", {{"axis", int64_t{1}}}).add_output("b");
  builder.wholes("starts", {1});
  builder.wholes("ends", {9223372036854775807});
  builder.wholes("axes", {1});
  builder.node("Slice", {"x", "starts", "ends", "axes"}, "s");
  builder.node("Concat", {"b", "a", "s"}, "c", {{"axis", int64_t{1}}});
  builder.node("Flatten", {"c"}, "y");
  builder.output("y");
  EXPECT_EQ(run(builder, {1, 1, 1, 4}, {0, 1, 2, 3}, {1, 1, 4}), (Floats{2, 3, 0, 1, 1, 2, 3}));
}

TEST_F(ImportOnnx, ASplitThatNobodyReadsIsNone) {
  OnnxBuilder builder({0, 3, 2, 2});
  builder.node("GlobalAveragePool", {"x"}, "p");
  builder.node("Flatten", {"p"}, "f");
  builder.wholes("sizes", {2, 1});
  builder.node("Split", {"f", "sizes"}, "y", {{"axis", int64_t{1}}}).add_output("unread");
  builder.output("y");
  EXPECT_EQ(run(builder, {1, 2, 2, 3}, pixels_and_channels), (Floats{1.5, 11.5}));
}

}  // namespace
}  // namespace espalier
