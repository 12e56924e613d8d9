// Every network of the zoo comes back from an ONNX file to the same bits.
#include "espalier/onnx/export.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "espalier/graph/op.h"
#include "espalier/nn/inference.h"
#include "espalier/nn/layers.h"
#include "espalier/nn/network.h"
#include "espalier/onnx/import.h"
#include "espalier/onnx/onnx_file.h"
#include "support/bad_input.h"
#include "support/numbers.h"
#include "support/temporary_folder.h"
#include "support/zoo.h"

namespace espalier {
namespace {

Tensor logits_of(Module& model, const Tensor& images) {
  const Inference inference(model);
  return model.forward(Variable(images)).value();
}

/// Norms that do something, and no two weights alike.
std::unique_ptr<Module> trained(const ModelOptions& options) {
  auto model = make_model(options, 3);
  uint64_t key = 1;
  for (Parameter* parameter : model->parameters()) {
    if (parameter->value().dtype() != DType::f32 || parameter->value().shape().axes() != 1) continue;
    const bool is_scale = parameter->name.ends_with("running_var") || parameter->role == Role::scale;
    parameter->value().copy_from(
        random_tensor(parameter->value().shape(), ++key, is_scale ? 0.5 : -0.3, is_scale ? 1.5 : 0.3));
  }
  return model;
}

class OnnxOf : public testing::TestWithParam<Zoo> {
 protected:
  const ModelOptions& options = GetParam().options;
  Tensor images = random_tensor({3, options.input[0], options.input[1], options.input[2]}, 1);
  TemporaryFolder folder;

  OnnxNetwork there_and_back(Module& model, const OnnxExportOptions& with = {}) {
    export_onnx(folder / "net.onnx", model, options.input, {}, with);
    return import_onnx(folder / "net.onnx", options.input);
  }
};

TEST_P(OnnxOf, ComesBackToTheSameBits) {
  const auto model = trained(options);
  const OnnxNetwork network = there_and_back(*model);
  const auto back = make_module(network, "net.onnx");
  const Tensor expected = logits_of(*model, images);
  EXPECT_FALSE(same_bits(expected, logits_of(*model, random_tensor(images.shape(), 2))));
  EXPECT_TRUE(same_bits(logits_of(*back, images), expected));
  const Network before(*model, options.input), after(*back, options.input);
  EXPECT_EQ(before.totals.macs, after.totals.macs);
  EXPECT_EQ(before.totals.parameters, after.totals.parameters);
  // As many ops, so that what runs together here runs together there.
  EXPECT_LE(after.graph.nodes.size(), before.graph.nodes.size() + 2);
  std::vector<std::string> names, names_back;
  for (const auto& [name, tensor] : state_dict(*model)) names.push_back(name);
  for (const auto& [name, tensor] : state_dict(*back)) names_back.push_back(name);
  std::ranges::sort(names);
  std::ranges::sort(names_back);
  EXPECT_EQ(names, names_back);
}

TEST_P(OnnxOf, ComesBackAlmostTheSameWithNormsFolded) {
  const auto model = trained(options);
  const auto back = make_module(there_and_back(*model, {.fold_batchnorm = true}), "net.onnx");
  EXPECT_TRUE(near(logits_of(*back, images), doubles(logits_of(*model, images).span<float>()), 2e-5));
}

TEST_P(OnnxOf, IsWrittenInTheOldestAndTheNewestOpset) {
  const auto model = trained(options);
  const bool normalizes_rows = GetParam().name == "vit";
  for (const int64_t opset : {normalizes_rows ? int64_t{17} : min_onnx_opset, max_onnx_opset}) {
    const auto back = make_module(there_and_back(*model, {.opset = opset}), "net.onnx");
    EXPECT_TRUE(same_bits(logits_of(*back, images), logits_of(*model, images))) << opset;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, OnnxOf, testing::ValuesIn(zoo()),
                         [](const auto& which) { return which.param.name; });

class ExportOnnx : public testing::Test {
 protected:
  TemporaryFolder folder;
  const std::filesystem::path file = folder / "net.onnx";
  const ModelOptions options{.type = "vgg11", .input = {16, 16, 3}, .classes = 5, .width = 0.1};
  std::unique_ptr<Module> model = trained(options);
};

TEST_F(ExportOnnx, EveryOpThatInfersHasAWay) {
  std::vector<std::string> without;
  const auto known = exported_ops();
  for (const Op* op : op_catalogue())
    if (std::ranges::count(known, op->name) == 0) without.push_back(op->name);
  // What only losses have.
  EXPECT_EQ(without,
            (std::vector<std::string>{"sum", "mean", "softmax_cross_entropy", "softmax_kl_divergence"}));
}

TEST_F(ExportOnnx, HasTheNetworksNamesAndAnOpenBatch) {
  export_onnx(file, *model, options.input);
  const auto written = read_onnx(file);
  EXPECT_EQ(written.producer_name(), "espalier");
  EXPECT_EQ(written.opset_import(0).version(), 17);
  EXPECT_EQ(written.graph().node(0).name(), "features.0/Conv");
  EXPECT_EQ(written.graph().initializer(0).name(), "features.0.weight");
  const auto& input = written.graph().input(0);
  EXPECT_EQ(input.name(), "images");
  EXPECT_EQ(input.type().tensor_type().shape().dim(0).dim_param(), "N");
  EXPECT_EQ(input.type().tensor_type().shape().dim(1).dim_value(), 3);
  EXPECT_EQ(written.graph().output(0).name(), "logits");
  export_onnx(file, *model, options.input, {}, {.batch = 7});
  EXPECT_EQ(read_onnx(file).graph().input(0).type().tensor_type().shape().dim(0).dim_value(), 7);
}

TEST_F(ExportOnnx, FoldsNormsAway) {
  const auto count = [&](const std::string& op) {
    const auto written = read_onnx(file);
    return std::ranges::count(written.graph().node(), op, &onnx::NodeProto::op_type);
  };
  export_onnx(file, *model, options.input);
  EXPECT_EQ(count("BatchNormalization"), 8);
  export_onnx(file, *model, options.input, {}, {.fold_batchnorm = true});
  EXPECT_EQ(count("BatchNormalization"), 0);
}

TEST_F(ExportOnnx, KeepsWhatIsKnownOfTheData) {
  const OnnxData data{.classes = {"a", "b", "c", "d", "é"}, .mean = {0.5, 0.25, 0.125}, .std = {1, 2, 3}};
  export_onnx(file, *model, options.input, data);
  const OnnxNetwork back = import_onnx(file);
  EXPECT_EQ(back.classes, data.classes);
  EXPECT_EQ(back.mean, data.mean);
  EXPECT_EQ(back.std, data.std);
  EXPECT_TRUE(back.notes.empty());
}

TEST_F(ExportOnnx, NormalizesFirstAndComesBackWithout) {
  const OnnxData data{.mean = {0.5, 0.25, 0.125}, .std = {1, 2, 4}};
  export_onnx(file, *model, options.input, data, {.softmax = true, .normalize = true});
  const auto written = read_onnx(file);
  EXPECT_EQ(written.graph().node(0).op_type(), "Sub");
  EXPECT_EQ(written.graph().node(1).op_type(), "Div");
  EXPECT_EQ(written.graph().output(0).name(), "probabilities");
  const OnnxNetwork back = import_onnx(file);
  EXPECT_EQ(back.mean, data.mean);
  EXPECT_EQ(back.std, data.std);
  ASSERT_EQ(back.notes.size(), 2);
  EXPECT_TRUE(contains(back.notes[0], "normalisation"));
  EXPECT_TRUE(contains(back.notes[1], "Softmax"));
  const Tensor images = random_tensor({2, 16, 16, 3}, 1);
  EXPECT_TRUE(same_bits(logits_of(*make_module(back, "net"), images), logits_of(*model, images)));
}

TEST_F(ExportOnnx, WritesNothingOfWhatDoesNotFit) {
  const auto message = [&](const OnnxExportOptions& with) {
    return message_of([&] { export_onnx(file, *model, options.input, {}, with); });
  };
  EXPECT_EQ(message({.opset = 12}), "onnx: found opset 12, expected 13 to 21");
  EXPECT_EQ(message({.opset = 22}), "onnx: found opset 22, expected 13 to 21");
  EXPECT_EQ(message({.batch = 0}), "onnx: found a batch of 0, expected 1 or more");
  EXPECT_EQ(message({.normalize = true}),
            "onnx: the network says no normalisation of its images, which --normalize would write");
  model = make_model({.type = "vit", .input = {16, 16, 3}, .classes = 5, .width = 0.1, .depth = 1}, 1);
  EXPECT_EQ(message({.opset = 16}), "onnx: layer_norm needs opset 17, found 16");
  EXPECT_EQ(folder.files(), 0);
}

}  // namespace
}  // namespace espalier
