// Files as exporters write them, and files that nobody should: what becomes of each.
#include "espalier/onnx/import.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "espalier/nn/inference.h"
#include "espalier/onnx/export.h"
#include "onnx/onnx_builder.h"
#include "support/bad_input.h"
#include "support/numbers.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

class ImportOnnx : public testing::Test {
 protected:
  TemporaryFolder folder;
  const std::filesystem::path file = folder / "net.onnx";

  OnnxNetwork import(const OnnxBuilder& builder, const Shape& image = {}) {
    builder.write(file);
    return import_onnx(file, image);
  }
  /// What the network makes of these images.
  Floats run(const OnnxBuilder& builder, const Shape& images, const Floats& numbers,
             const Shape& image = {}) {
    const auto model = make_module(import(builder, image), "net");
    const Inference inference(*model);
    const Tensor y = model->forward(Variable(Tensor::from(images, numbers))).value();
    return {y.span<float>().begin(), y.span<float>().end()};
  }
  std::vector<std::string> ops(const OnnxBuilder& builder, const Shape& image = {}) {
    std::vector<std::string> names;
    for (const GraphNode& node : import(builder, image).graph.nodes) names.push_back(node.op);
    return names;
  }
  std::string refused(const OnnxBuilder& builder, const Shape& image = {}) {
    builder.write(file);
    return message_of([&] { import_onnx(file, image); });
  }
};

using Names = std::vector<std::string>;
using Sizes = std::vector<int64_t>;

/// [N,1,1,4] to logits by two features, so that ops of one kind can be looked at: y = f(x) w'.
class OneOp : public ImportOnnx {
 protected:
  OnnxBuilder builder{{0, 1, 1, 4}};

  /// After the last node, "f": sums of pairs.
  void finish(const std::string& f = "f") {
    builder.node("Flatten", {f}, "rows");
    builder.floats("fc.weight", {2, 4}, {1, 1, 0, 0, 0, 0, 1, 1});
    builder.node("Gemm", {"rows", "fc.weight"}, "y", {{"transB", int64_t{1}}});
    builder.output("y");
  }
  Floats of(const Floats& x) { return run(builder, {1, 1, 4, 1}, x); }
};

double erf_gelu(double x) { return x * 0.5 * (1 + std::erf(x / std::sqrt(2.0))); }

TEST_F(OneOp, IsGeluHoweverItsFactorsAreOrdered) {
  const float x[] = {-1.0f, 0.5f, 2.0f, -0.25f};
  for (int order = 0; order < 3; ++order) {
    builder = OnnxBuilder({0, 1, 1, 4});
    builder.floats("sqrt2", {}, {std::sqrt(2.0f)});
    builder.floats("one", {}, {1.0f});
    builder.floats("half", {}, {0.5f});
    builder.node("Div", {"x", "sqrt2"}, "a");
    builder.node("Erf", {"a"}, "b");
    builder.node("Add", {"b", "one"}, "c");
    if (order == 0) {
      builder.node("Mul", {"x", "c"}, "d");
      builder.node("Mul", {"d", "half"}, "f");
    } else if (order == 1) {
      builder.node("Mul", {"half", "c"}, "d");
      builder.node("Mul", {"d", "x"}, "f");
    } else {
      builder.node("Mul", {"x", "half"}, "d");
      builder.node("Mul", {"d", "c"}, "f");
    }
    finish();
    EXPECT_EQ(ops(builder), (Names{"activation", "flatten", "linear"})) << order;
    const Floats y = of({x, x + 4});
    EXPECT_TRUE(near(y, Doubles{erf_gelu(-1) + erf_gelu(0.5), erf_gelu(2) + erf_gelu(-0.25)}, 1e-6)) << order;
  }
}

TEST_F(OneOp, IsNoGeluWhereAPartIsReadElsewhere) {
  builder.floats("sqrt2", {}, {std::sqrt(2.0f)});
  builder.floats("one", {}, {1.0f});
  builder.floats("half", {}, {0.5f});
  builder.node("Div", {"x", "sqrt2"}, "a");
  builder.node("Erf", {"a"}, "b");
  builder.node("Add", {"b", "one"}, "c");
  builder.node("Mul", {"x", "c"}, "d");
  builder.node("Mul", {"d", "half"}, "e");
  builder.node("Add", {"e", "c"}, "f");
  finish();
  EXPECT_TRUE(contains(refused(builder), "1 op is not known: Erf ('b')"));
}

TEST_F(OneOp, IsSiluHardSwishAndHardSigmoid) {
  const Floats x{-1.0f, 0.5f, 2.0f, -0.25f};
  const auto sums = [&](double (*f)(double)) { return Doubles{f(x[0]) + f(x[1]), f(x[2]) + f(x[3])}; };
  builder.node("Sigmoid", {"x"}, "a");
  builder.node("Mul", {"a", "x"}, "f");
  finish();
  EXPECT_EQ(ops(builder), (Names{"activation", "flatten", "linear"}));
  EXPECT_TRUE(near(of(x), sums([](double v) { return v / (1 + std::exp(-v)); }), 1e-6));

  const auto hard = [](double v) { return std::min(std::max(v + 3, 0.0), 6.0) / 6; };
  builder = OnnxBuilder({0, 1, 1, 4});
  builder.node("HardSigmoid", {"x"}, "f", {{"alpha", 1.0f / 6.0f}, {"beta", 0.5f}});
  finish();
  EXPECT_TRUE(near(of(x), sums(hard), 1e-6));

  for (const bool divides_last : {false, true}) {
    builder = OnnxBuilder({0, 1, 1, 4});
    builder.floats("three", {}, {3.0f});
    builder.floats("six", {}, {6.0f});
    builder.node("Add", {"x", "three"}, "a");
    builder.node("Clip", {"a"}, "b", {{"min", 0.0f}, {"max", 6.0f}});
    builder.node(divides_last ? "Mul" : "Div", {"b", divides_last ? "x" : "six"}, "c");
    builder.node(divides_last ? "Div" : "Mul", {"c", divides_last ? "six" : "x"}, "f");
    finish();
    EXPECT_EQ(ops(builder), (Names{"activation", "flatten", "linear"}));
    EXPECT_TRUE(
        near(of(x), sums([](double v) { return v * std::min(std::max(v + 3, 0.0), 6.0) / 6; }), 1e-6));
  }
}

TEST_F(OneOp, BendsAtZeroByAnySlope) {
  builder.node("LeakyRelu", {"x"}, "f", {{"alpha", 0.25f}});
  finish();
  EXPECT_EQ(of({-4, 1, 2, -8}), (Floats{0, 0}));
  builder = OnnxBuilder({0, 1, 1, 4});
  builder.floats("slope", {1, 1, 1}, {0.5f});
  builder.node("PRelu", {"x", "slope"}, "f");
  finish();
  EXPECT_EQ(of({-4, 1, 2, -8}), (Floats{-1, -2}));
  builder = OnnxBuilder({0, 1, 1, 4});
  builder.node("LeakyRelu", {"x"}, "f");
  finish();
  EXPECT_EQ(ops(builder), (Names{"activation", "flatten", "linear"}));
}

TEST_F(OneOp, AddsAndTakesAwayNumbers) {
  builder.floats("two", {}, {2.0f});
  builder.floats("ten", {1}, {10.0f});
  builder.node("Add", {"two", "x"}, "a");
  builder.node("Sub", {"ten", "a"}, "b");
  builder.node("Sub", {"b", "two"}, "f");
  finish();
  EXPECT_EQ(of({1, 2, 3, 4}), (Floats{9, 5}));  // 6 - x
  builder = OnnxBuilder({0, 1, 1, 4});
  builder.node("Cast", {"x"}, "f", {{"to", int64_t{onnx::TensorProto::INT64}}});
  finish();
  EXPECT_TRUE(contains(refused(builder), "of what depends on the images to type 7, expected floats"));
}

TEST_F(OneOp, ClipsAndScales) {
  builder.floats("low", {}, {-1.0f});
  builder.floats("two", {}, {2.0f});
  builder.node("Clip", {"x", "low"}, "a");
  builder.node("Mul", {"two", "a"}, "b");
  builder.node("Div", {"b", "two"}, "c");
  builder.node("Neg", {"c"}, "f");
  finish();
  EXPECT_EQ(of({-4, 1, 2, 8}), (Floats{0, -10}));
  builder = OnnxBuilder({0, 1, 1, 4});
  builder.floats("zero", {}, {0.0f});
  builder.floats("six", {}, {6.0f});
  builder.node("Clip", {"x", "zero", "six"}, "a");
  builder.node("Clip", {"a", "zero"}, "f");
  finish();
  const OnnxNetwork network = import(builder);
  EXPECT_EQ(std::get<std::string>(*network.graph.nodes[0].attribute("function")), "relu6");
  EXPECT_EQ(std::get<std::string>(*network.graph.nodes[1].attribute("function")), "relu");
}

/// Images [1,2,2,3] (H,W,C) of channels 0, 10 and 20 and of pixels 0, 1, 2, 3.
const Floats pixels_and_channels{0, 10, 20, 1, 11, 21, 2, 12, 22, 3, 13, 23};

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

TEST_F(ImportOnnx, ShufflesChannels) {
  OnnxBuilder builder({0, 4, 1, 1});
  builder.wholes("groups", {0, 2, 2, 1, 1});
  builder.wholes("whole", {0, 4, 1, 1});
  builder.node("Reshape", {"x", "groups"}, "a");
  builder.node("Transpose", {"a"}, "b", {{"perm", Sizes{0, 2, 1, 3, 4}}});
  builder.node("Reshape", {"b", "whole"}, "c");
  builder.node("Flatten", {"c"}, "y");
  builder.output("y");
  EXPECT_EQ(run(builder, {1, 1, 1, 4}, {0, 1, 2, 3}, {1, 1, 4}), (Floats{0, 2, 1, 3}));
  OnnxBuilder larger({0, 4, 2, 1});
  larger.wholes("groups", {0, 2, 2, 2, 1});
  larger.wholes("whole", {0, 4, 2, 1});
  larger.node("Reshape", {"x", "groups"}, "a");
  larger.node("Transpose", {"a"}, "b", {{"perm", Sizes{0, 2, 1, 3, 4}}});
  larger.node("Reshape", {"b", "whole"}, "c");
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

TEST_F(ImportOnnx, PadsByItselfAndUnevenly) {
  OnnxBuilder builder({0, 1, 2, 2});
  builder.floats("c.weight", {1, 1, 2, 2}, {1, 1, 1, 1});
  builder.node("Conv", {"x", "c.weight"}, "c",
               {{"auto_pad", std::string("SAME_UPPER")}, {"kernel_shape", Sizes{2, 2}}});
  builder.node("Flatten", {"c"}, "y");
  builder.output("y");
  EXPECT_EQ(run(builder, {1, 2, 2, 1}, {1, 2, 4, 8}), (Floats{15, 10, 12, 8}));
  builder.graph().mutable_node(0)->mutable_attribute(0)->set_s("SAME_LOWER");
  EXPECT_EQ(run(builder, {1, 2, 2, 1}, {1, 2, 4, 8}), (Floats{1, 3, 5, 15}));
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

TEST_F(ImportOnnx, NamesLayersAfterWeightsOrNodes) {
  OnnxBuilder builder({0, 1, 2, 2});
  builder.floats("onnx::Conv_7", {1, 1, 1, 1}, {2});
  builder.node("Conv", {"x", "onnx::Conv_7"}, "a").set_name("/layer1/layer1.0/conv1/Conv");
  builder.floats("head.1.weight", {1, 1, 1, 1}, {3});
  builder.floats("head.1.bias", {1}, {1});
  builder.node("Conv", {"a", "head.1.weight", "head.1.bias"}, "b").set_name("Conv_12");
  builder.node("Conv", {"b", "onnx::Conv_7"}, "c")
      .set_name("/layer1/layer1.1/conv1/Conv");  // shares its weight
  builder.floats("w", {1, 1, 1, 1}, {5});
  builder.node("Conv", {"c", "w"}, "d").set_name("/layer1/layer1.0/conv1/Conv");
  builder.node("GlobalAveragePool", {"d"}, "e");
  builder.node("Flatten", {"e"}, "y");
  builder.output("y");
  Names names;
  for (const auto& [name, tensor] : import(builder).tensors) names.push_back(name);
  EXPECT_EQ(names, (Names{"layer1.0.conv1.weight", "head.1.weight", "head.1.bias", "w.weight"}));
  EXPECT_EQ(run(builder, {1, 2, 2, 1}, {1, 1, 1, 1}), Floats{(2 * 3 + 1) * 2 * 5});
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

TEST_F(ImportOnnx, LeavesASoftmaxOutAtTheEndAndRefusesOneOverSeveralAxes) {
  OnnxBuilder builder({0, 3, 2, 2});
  builder.node("GlobalAveragePool", {"x"}, "p");
  builder.node("Flatten", {"p"}, "f");
  builder.node("Softmax", {"f"}, "s");
  builder.node("Relu", {"s"}, "dead");
  builder.node("Identity", {"s"}, "y");
  builder.output("y");
  const OnnxNetwork network = import(builder);
  EXPECT_EQ(network.graph.nodes.size(), 1);
  ASSERT_EQ(network.notes.size(), 1);
  EXPECT_TRUE(contains(network.notes[0], "Softmax that puts out 's' at the end is left out"));
  OnnxBuilder old({0, 3, 2, 2});
  old.model.mutable_opset_import(0)->set_version(11);
  old.node("Softmax", {"x"}, "s");
  old.node("Flatten", {"s"}, "y");
  old.output("y");
  EXPECT_TRUE(contains(refused(old), "over axes 1 to 3 together, as before opset 13, expected one"));
  old.model.mutable_opset_import(0)->set_version(8);
  EXPECT_TRUE(contains(refused(old), "is of opset 8, expected 9 or later"));
}

TEST_F(ImportOnnx, PoolsOverAllOfALargeImage) {
  OnnxBuilder builder({0, 1, 20, 31});
  builder.node("GlobalMaxPool", {"x"}, "p");
  builder.node("Flatten", {"p"}, "y");
  builder.output("y");
  Floats pixels(620, 1.0f);
  pixels[619] = 7;
  EXPECT_EQ(run(builder, {1, 20, 31, 1}, pixels), Floats{7});
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

TEST_F(ImportOnnx, TakesANormalisationOnlyWhereItIsOne) {
  for (const bool by_channel : {true, false}) {
    OnnxBuilder builder({0, 3, 2, 2});
    builder.floats("m", by_channel ? Sizes{1, 3, 1, 1} : Sizes{1, 1, 1, 1},
                   by_channel ? Floats{1, 2, 3} : Floats{2});
    builder.floats("s", {1, 1, 1, 1}, {4});
    builder.node("Sub", {"x", "m"}, "a");
    builder.node("Div", {"a", "s"}, "b");
    builder.node("GlobalAveragePool", {"b"}, "p");
    builder.node("Flatten", {"p"}, "y");
    builder.output("y");
    const OnnxNetwork network = import(builder);
    EXPECT_EQ(network.mean, by_channel ? (Doubles{1, 2, 3}) : (Doubles{2, 2, 2}));
    EXPECT_EQ(network.std, (Doubles{4, 4, 4}));
    EXPECT_TRUE(network.normalized_images);
    EXPECT_EQ(network.graph.nodes.size(), 1);
  }
  OnnxBuilder of_rows({0, 3, 2, 2});
  of_rows.floats("m", {1, 1, 2, 1}, {1, 2});
  of_rows.floats("s", {}, {4});
  of_rows.node("Sub", {"x", "m"}, "a");
  of_rows.node("Div", {"a", "s"}, "b");
  of_rows.node("GlobalAveragePool", {"b"}, "p");
  of_rows.node("Flatten", {"p"}, "y");
  of_rows.output("y");
  EXPECT_TRUE(contains(refused(of_rows), "adds a constant of 2 numbers"));
}

TEST_F(ImportOnnx, TakesWhatOldExportersWrite) {
  OnnxBuilder builder({0, 1, 1, 1});
  builder.floats("c.weight", {1, 1, 1, 1}, {2});
  *builder.graph().add_input() = builder.graph().input(0);  // an initializer as an input, too
  builder.graph().mutable_input(1)->set_name("c.weight");
  builder.node("Conv", {"x", "c.weight"}, "a");
  for (const char* name : {"bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"})
    builder.floats(name, {1}, {1});
  auto& norm =
      builder.node("BatchNormalization", {"a", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"},
                   "b", {{"epsilon", 0.0f}, {"training_mode", int64_t{1}}});
  for (const char* name : {"m", "v"}) norm.add_output(name);  // saved in training mode
  builder.node("Dropout", {"b"}, "d", {{"ratio", 0.5f}}).add_output("mask");
  builder.node("Flatten", {"d"}, "y");
  builder.output("y");
  EXPECT_EQ(run(builder, {2, 1, 1, 1}, {1, 2}, {1, 1, 1}), (Floats{2, 4}));
  const OnnxNetwork network = import(builder, {1, 1, 1});
  EXPECT_EQ(network.tensors.back().first, "bn.num_batches_tracked");
  EXPECT_EQ(network.graph.nodes[1].op, "batch_norm");
}

TEST_F(ImportOnnx, ReadsEveryTypeOfNumbersAndFilesBeside) {
  const auto with = [](auto change) {
    OnnxBuilder builder({0, 1, 1, 1});
    onnx::TensorProto& weight = builder.floats("c.weight", {1, 1, 1, 1}, {});
    weight.clear_raw_data();
    change(weight);
    builder.node("Conv", {"x", "c.weight"}, "a");
    builder.node("Flatten", {"a"}, "y");
    builder.output("y");
    return builder;
  };
  const auto of = [&](const OnnxBuilder& builder) { return run(builder, {1, 1, 1, 1}, {1}, {1, 1, 1}); };
  EXPECT_EQ(of(with([](auto& w) { w.add_float_data(2.5f); })), Floats{2.5f});
  EXPECT_EQ(of(with([](auto& w) { w.set_data_type(onnx::TensorProto::DOUBLE), w.add_double_data(2.5); })),
            Floats{2.5f});
  EXPECT_EQ(of(with([](auto& w) { w.set_data_type(onnx::TensorProto::FLOAT16), w.add_int32_data(0x4100); })),
            Floats{2.5f});
  EXPECT_EQ(
      of(with([](auto& w) { w.set_data_type(onnx::TensorProto::BFLOAT16), w.set_raw_data("\x20\x40", 2); })),
      Floats{2.5f});
  const auto beside = [](const std::string& location, const char* offset) {
    return [=](onnx::TensorProto& w) {
      w.set_data_location(onnx::TensorProto::EXTERNAL);
      for (const auto& [key, value] :
           {std::pair<std::string, std::string>{"location", location}, {"offset", offset}}) {
        auto* entry = w.add_external_data();
        entry->set_key(key);
        entry->set_value(value);
      }
    };
  };
  const float numbers[] = {7.0f, 2.5f};
  std::ofstream(folder / "net.data", std::ios::binary)
      .write(reinterpret_cast<const char*>(numbers), sizeof numbers);
  EXPECT_EQ(of(with(beside("net.data", "4"))), Floats{2.5f});
  const auto message = [&](const std::string& location, const char* offset) {
    return refused(with(beside(location, offset)), {1, 1, 1});
  };
  EXPECT_TRUE(contains(message("net.data", "5"), "'c.weight' external data: "));
  EXPECT_TRUE(contains(message("net.data", "5"), "has 8 bytes, expected 4 from 5"));
  EXPECT_TRUE(contains(message("net.data", "-4"), "offset is '-4', expected a count of bytes"));
  EXPECT_TRUE(contains(message("gone.data", "0"), "gone.data: no such file"));
  EXPECT_TRUE(contains(message("../net.data", "0"), "'../net.data' is not in the file's own folder"));
  EXPECT_TRUE(contains(message("/etc/passwd", "0"), "'/etc/passwd' is not in the file's own folder"));
  std::filesystem::create_symlink("/etc/passwd", folder / "link");
  EXPECT_TRUE(contains(message("link", "0"), "is a link to somewhere out of"));
}

TEST_F(ImportOnnx, TakesRowsWhereTheImagesAreSaid) {
  OnnxBuilder builder({0, 12});
  Floats weight(12, 0.0f);
  weight[4] = 1;  // the first pixel of channel 1, of [C,H,W]
  builder.floats("fc.weight", {12, 1}, weight);
  builder.node("MatMul", {"x", "fc.weight"}, "y");
  builder.output("y");
  EXPECT_TRUE(contains(refused(builder),
                       "takes rows of 12 numbers: --input HEIGHTxWIDTHxCHANNELS says of which images"));
  EXPECT_TRUE(contains(refused(builder, {2, 2, 4}), "takes rows of 12 numbers, found images of [2, 2, 4]"));
  EXPECT_EQ(run(builder, {1, 2, 2, 3}, pixels_and_channels, {2, 2, 3}), Floats{10});
}

TEST_F(ImportOnnx, TakesImagesWithChannelsLast) {
  OnnxBuilder builder({0, 2, 2, 3});
  builder.node("Transpose", {"x"}, "t", {{"perm", Sizes{0, 3, 1, 2}}});
  builder.node("GlobalAveragePool", {"t"}, "p");
  builder.node("Flatten", {"p"}, "y");
  builder.output("y");
  EXPECT_EQ(ops(builder), Names{"global_average_pool"});
  EXPECT_EQ(run(builder, {1, 2, 2, 3}, pixels_and_channels), (Floats{1.5, 11.5, 21.5}));
}

TEST_F(ImportOnnx, LeavesSizesToWhoKnowsThem) {
  OnnxBuilder builder({0, 0, 0, 0});
  builder.node("GlobalAveragePool", {"x"}, "p");
  builder.node("Flatten", {"p"}, "y");
  builder.output("y");
  EXPECT_TRUE(contains(refused(builder),
                       "leaves the sizes of its images open: --input HEIGHTxWIDTHxCHANNELS says them"));
  EXPECT_EQ(import(builder, {8, 6, 3}).graph.image(), (Shape{8, 6, 3}));
}

// --- what is refused

TEST_F(ImportOnnx, NamesAllOpsThatAreNotKnown) {
  OnnxBuilder builder({0, 3, 2, 2});
  builder.node("Resize", {"x"}, "a").set_name("/up/Resize");
  builder.node("Reul", {"a"}, "b");
  builder.node("Resize", {"b"}, "c").set_name("/up2/Resize");
  auto& own = builder.node("Fancy", {"c"}, "y");
  own.set_domain("com.x");
  builder.output("y");
  EXPECT_EQ(refused(builder),
            file.string() +
                ": 3 ops are not known: Resize ('/up/Resize', '/up2/Resize'), Reul ('b'), did you "
                "mean 'Relu'?, com.x.Fancy ('y')");
}

TEST_F(ImportOnnx, SaysWhereItsNamesAreWrong) {
  const auto message = [&](auto change) {
    OnnxBuilder builder({0, 3, 2, 2});
    builder.node("Relu", {"x"}, "a").set_name("n1");
    builder.node("Relu", {"a"}, "b").set_name("n2");
    builder.node("Flatten", {"b"}, "y").set_name("n3");
    builder.output("y");
    change(builder.graph());
    return refused(builder);
  };
  EXPECT_TRUE(contains(message([](auto& g) { g.mutable_node(0)->set_input(0, "b"); }),
                       "Relu 'n1': reads 'b', which is made after it"));
  EXPECT_TRUE(contains(message([](auto& g) { g.mutable_node(0)->set_input(0, "q"); }),
                       "Relu 'n1': reads 'q', which nothing makes"));
  EXPECT_TRUE(contains(message([](auto& g) { g.mutable_node(1)->set_output(0, "a"); }),
                       "Relu 'n2': makes 'a', which is there already"));
  EXPECT_TRUE(contains(message([](auto& g) { g.mutable_output(0)->set_name("z"); }),
                       "its output 'z' does not depend on the images"));
  EXPECT_TRUE(
      contains(message([](auto& g) { *g.add_output() = g.output(0); }), "has 2 outputs, expected one"));
  EXPECT_TRUE(
      contains(message([](auto& g) { *g.add_input() = g.input(0), g.mutable_input(1)->set_name("x2"); }),
               "has several inputs, 'x' and 'x2'"));
  EXPECT_TRUE(contains(message([](auto& g) { g.clear_input(); }), "has no input"));
  EXPECT_TRUE(contains(message([](auto& g) { g.clear_node(); }), "is no ONNX file: it has no graph"));
  EXPECT_TRUE(contains(message([](auto& g) { g.mutable_node(2)->set_op_type("Relu"); }),
                       "puts out [1, 3, 2, 2] for an image, expected a row of logits"));
  EXPECT_TRUE(contains(message([](auto& g) { g.mutable_node(0)->clear_output(); }), "puts out nothing"));
}

TEST_F(ImportOnnx, SaysAtWhichNodeShapesDoNotFit) {
  const auto message = [&](const std::string& op, const Sizes& weight, int numbers) {
    OnnxBuilder builder({0, 3, 2, 2});
    builder.floats("w", weight, Floats(static_cast<size_t>(numbers), 1.0f));
    builder.node(op, {"x", "w"}, "a").set_name("n");
    builder.node("Flatten", {"a"}, "y");
    builder.output("y");
    return refused(builder);
  };
  const std::string at = file.string() + ": ";
  EXPECT_EQ(message("Conv", {4, 2, 1, 1}, 8),
            at + "Conv 'n': conv2d: input has 3 channels a group, weight expects 2");
  EXPECT_EQ(message("Conv", {4, 3}, 12), at + "Conv 'n': its weight has 2 axes, expected [O,I,Kh,Kw]");
  EXPECT_EQ(message("Conv", {1, 3, 1, 1}, 4), at + "'w' holds 16 bytes, expected 12");
  EXPECT_EQ(message("Gemm", {5, 5}, 25), at + "Gemm 'n': of 2 columns, its weight expects 5");
  EXPECT_TRUE(contains(message("Add", {2, 2, 2}, 8),
                       "Add 'n': adds a constant of 8 numbers, expected one number a channel"));
  EXPECT_TRUE(contains(message("Conv", {4, -3, 1, 1}, 8), "'w' has an axis of -3, which cannot be"));
  EXPECT_TRUE(
      contains(message("Conv", {4611686018427387904, 4, 1, 1}, 8), "'w' has an axis of 4, which cannot be"));
}

TEST_F(ImportOnnx, RefusesWhatIsNoOnnxFile) {
  EXPECT_TRUE(contains(message_of<UsageError>([&] { import_onnx(folder / "gone.onnx"); }),
                       "gone.onnx: cannot open: No such file or directory"));
  OnnxBuilder builder({0, 3, 2, 2});
  builder.node("Flatten", {"x"}, "y");
  builder.output("y");
  const std::string whole = builder.text();
  int refusals = 0;
  for (size_t size = 0; size < whole.size(); ++size) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << whole.substr(0, size);
    try {
      import_onnx(file);  // cut behind a field it may be another network
    } catch (const Error& error) {
      EXPECT_TRUE(contains(error.what(), file.string() + ": "));
      ++refusals;
    }
  }
  EXPECT_GT(refusals, static_cast<int>(whole.size()) - 3);
  std::ofstream(file, std::ios::binary | std::ios::trunc) << "{\"a\": 1}";
  EXPECT_EQ(message_of([&] { import_onnx(file); }), file.string() + ": is no ONNX file, or is cut short");
}

TEST_F(ImportOnnx, AsksForNoMoreMemoryThanItsNumbersTake) {
  OnnxBuilder builder({0, 3, 2, 2});
  builder.wholes("huge", {1 << 20, 1 << 20});
  builder.node("ConstantOfShape", {"huge"}, "a").set_name("n");
  builder.node("Add", {"x", "a"}, "b");
  builder.node("Flatten", {"b"}, "y");
  builder.output("y");
  EXPECT_TRUE(contains(refused(builder), "ConstantOfShape 'n': would be of more than 67108864 numbers"));
  // Nor for many of them together; what nobody reads is not computed.
  OnnxBuilder many({0, 3, 2, 2});
  many.wholes("large", {1 << 26});
  many.node("Identity", {"x"}, "b0");
  for (int i = 0; i < 40; ++i) {
    many.node("ConstantOfShape", {"large"}, "unread" + std::to_string(i));
    many.node("ConstantOfShape", {"large"}, "a" + std::to_string(i));
    many.node("Add", {"b" + std::to_string(i), "a" + std::to_string(i)}, "b" + std::to_string(i + 1));
  }
  many.node("Flatten", {"b40"}, "y");
  many.output("y");
  EXPECT_TRUE(
      contains(refused(many), "'a2': makes more constants than the 134217728 numbers that a file may"));
}

}  // namespace
}  // namespace espalier
