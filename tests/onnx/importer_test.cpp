// Names, and what is shared.
#include "espalier/onnx/importer.h"

#include "onnx/import_case.h"

namespace espalier {
namespace {

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

}  // namespace
}  // namespace espalier
