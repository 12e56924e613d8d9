// Activations, arithmetic and softmax.
#include "onnx/import_case.h"

namespace espalier {
namespace {

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

TEST_F(OneOp, IsAHardSigmoidOfAnySlope) {
  builder.node("HardSigmoid", {"x"}, "f");  // of a fifth, as Keras has it
  finish();
  EXPECT_TRUE(near(of({-1, 0.5, 2, -4}), Doubles{0.3 + 0.6, 0.9 + 0}, 1e-6));
  builder = OnnxBuilder({0, 1, 1, 4});
  builder.node("HardSigmoid", {"x"}, "f", {{"beta", 0.25f}});
  finish();
  EXPECT_TRUE(contains(refused(builder), "HardSigmoid that puts out 'f': is 0.25 at 0, expected 0.5"));
  builder = OnnxBuilder({0, 1, 1, 4});
  builder.node("HardSigmoid", {"x"}, "a", {{"alpha", -0.5f}});
  builder.node("Mul", {"a", "x"}, "f");  // of another slope it is no HardSwish
  finish();
  EXPECT_TRUE(near(of({-4, 0.5, 2, -0.5}), Doubles{-4 * 1.0 + 0.5 * 0.25, 2 * 0.0 - 0.5 * 0.75}, 1e-6));
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

}  // namespace
}  // namespace espalier
