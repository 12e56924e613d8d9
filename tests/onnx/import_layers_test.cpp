// Convolutions, linear layers and norms.
#include "espalier/onnx/export.h"
#include "onnx/import_case.h"

namespace espalier {
namespace {

TEST_F(ImportOnnx, FeaturesOfAFlattenedImageAreByChannel) {
  OnnxBuilder builder({0, 3, 2, 2});
  builder.node("Flatten", {"x"}, "rows");
  Floats weight(12);
  for (int i = 0; i < 12; ++i) weight[static_cast<size_t>(i)] = static_cast<float>(i);  // of [C,H,W]
  builder.floats("fc.weight", {1, 12}, weight);
  builder.node("Gemm", {"rows", "fc.weight"}, "y", {{"transB", int64_t{1}}});
  builder.output("y");
  float expected = 0;
  for (int c = 0; c < 3; ++c)
    for (int p = 0; p < 4; ++p) expected += static_cast<float>((c * 4 + p) * (10 * c + p));
  EXPECT_EQ(run(builder, {1, 2, 2, 3}, pixels_and_channels), Floats{expected});
  // The same as a Reshape, and through an op that keeps the order.
  builder.graph().mutable_node(0)->set_op_type("Reshape");
  builder.graph().mutable_node(0)->add_input("shape");
  builder.wholes("shape", {0, -1});
  builder.graph().mutable_node(1)->set_input(0, "r");
  auto relu = *builder.graph().mutable_node(1);
  builder.graph().mutable_node()->RemoveLast();
  builder.node("Relu", {"rows"}, "r");
  *builder.graph().add_node() = relu;
  EXPECT_EQ(run(builder, {1, 2, 2, 3}, pixels_and_channels), Floats{expected});
}

TEST_F(ImportOnnx, ExcitesChannels) {
  OnnxBuilder builder({0, 3, 2, 2});
  builder.node("ReduceMean", {"x"}, "p", {{"axes", Sizes{2, 3}}, {"keepdims", int64_t{1}}});
  builder.floats("se.weight", {3, 3, 1, 1}, {1, 0, 0, 0, 0, 0, 0, 0, -1});
  builder.node("Conv", {"p", "se.weight"}, "s");
  builder.node("Mul", {"s", "x"}, "m");  // the small one first
  builder.node("ReduceMean", {"m"}, "y", {{"axes", Sizes{-2, -1}}, {"keepdims", int64_t{0}}});
  builder.output("y");
  EXPECT_EQ(run(builder, {1, 2, 2, 3}, pixels_and_channels), (Floats{2.25f, 0, -21.5f * 21.5f}));
}

TEST_F(ImportOnnx, AWeightThatIsReadInTwoWaysIsTwo) {
  OnnxBuilder builder({0, 1, 1, 2});
  builder.node("Flatten", {"x"}, "rows");
  builder.floats("w", {2, 2}, {1, 2, 3, 4});
  builder.node("Gemm", {"rows", "w"}, "a", {{"transB", int64_t{1}}});
  builder.node("Gemm", {"a", "w"}, "y");
  builder.output("y");
  // (1, 10) w' = (21, 43), times w
  EXPECT_EQ(run(builder, {1, 1, 2, 1}, {1, 10}), (Floats{21 + 3 * 43, 2 * 21 + 4 * 43}));
  EXPECT_EQ(import(builder).tensors.size(), 2);

  // Of features of a flattened image, and of the same as rows.
  OnnxBuilder image({0, 3, 2, 2});
  image.node("Flatten", {"x"}, "f");
  Floats ones(12, 1.0f), weight(12);
  for (size_t i = 0; i < 12; ++i) weight[i] = static_cast<float>(i);
  for (const char* name : {"bn.weight", "bn.running_var"}) image.floats(name, {12}, ones);
  for (const char* name : {"bn.bias", "bn.running_mean"}) image.floats(name, {12}, Floats(12, 0.0f));
  image.floats("w", {1, 12}, weight);
  image.node("BatchNormalization", {"f", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"}, "n",
             {{"epsilon", 0.0f}});
  image.node("Gemm", {"f", "w"}, "a", {{"transB", int64_t{1}}});
  image.node("Gemm", {"n", "w"}, "b", {{"transB", int64_t{1}}});
  image.node("Add", {"a", "b"}, "y");
  image.output("y");
  float expected = 0;
  for (int c = 0; c < 3; ++c)
    for (int p = 0; p < 4; ++p) expected += 2 * static_cast<float>((c * 4 + p) * (10 * c + p));
  EXPECT_EQ(run(image, {1, 2, 2, 3}, pixels_and_channels), Floats{expected});
}

TEST_F(ImportOnnx, AWeightThatIsWrittenInTwoWaysIsRight) {
  OnnxBuilder builder({0, 1, 2, 2});
  builder.floats("c.weight", {1, 1, 1, 1}, {3});
  builder.node("Conv", {"x", "c.weight"}, "a");
  builder.floats("bn.weight", {1}, {2});
  for (const char* name : {"bn.bias", "bn.running_mean", "bn.running_var"}) builder.floats(name, {1}, {1});
  builder.node("BatchNormalization", {"a", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"}, "b",
               {{"epsilon", 0.0f}});
  builder.node("Conv", {"b", "c.weight"}, "c");
  builder.node("GlobalAveragePool", {"c"}, "d");
  builder.node("Flatten", {"d"}, "y");
  builder.output("y");
  const Floats expected{((3 * 5 - 1) * 2 + 1) * 3};
  EXPECT_EQ(run(builder, {1, 2, 2, 1}, {5, 5, 5, 5}), expected);
  export_onnx(folder / "folded.onnx", *make_module(import(builder), "net"), {2, 2, 1}, {},
              {.fold_batchnorm = true});
  const auto model = make_module(import_onnx(folder / "folded.onnx"), "folded");
  const Inference inference(*model);
  const Tensor y = model->forward(Variable(Tensor::full({1, 2, 2, 1}, 5))).value();
  EXPECT_TRUE(near(y, doubles(expected), 1e-6));
}

}  // namespace
}  // namespace espalier
