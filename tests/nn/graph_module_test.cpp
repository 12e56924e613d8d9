// Every network of the zoo is the same to the bit as a graph.
#include "espalier/nn/graph_module.h"

#include <gtest/gtest.h>

#include "espalier/nn/inference.h"
#include "espalier/nn/models/models.h"
#include "espalier/nn/network.h"
#include "support/bad_input.h"
#include "support/numbers.h"

namespace espalier {
namespace {

struct Zoo {
  const char* name;
  ModelOptions options;
};
const Zoo zoo[] = {
    {"mlp", {.type = "mlp", .input = {4, 4, 2}, .classes = 5, .hidden = {9, 7}}},
    {"mlp_gelu", {.type = "mlp", .input = {4, 4, 1}, .classes = 5, .hidden = {9}, .activation = "gelu"}},
    {"lenet5", {.type = "lenet5", .input = {16, 16, 1}, .classes = 5, .width = 0.2}},
    {"lenet5_average",
     {.type = "lenet5", .input = {16, 16, 3}, .classes = 5, .width = 0.2, .pool = "average"}},
    {"vgg11", {.type = "vgg11", .input = {16, 16, 3}, .classes = 5, .width = 0.1}},
    {"vgg11_plain", {.type = "vgg11", .input = {16, 16, 3}, .classes = 5, .width = 0.1, .batch_norm = false}},
    {"vgg16_gelu", {.type = "vgg16", .input = {16, 16, 3}, .classes = 5, .width = 0.1, .activation = "gelu"}},
    {"resnet20", {.type = "resnet20", .input = {16, 16, 3}, .classes = 5, .width = 0.5}},
    {"resnet18", {.type = "resnet18", .input = {32, 32, 3}, .classes = 5, .width = 0.1, .stem = "imagenet"}},
    {"resnet50", {.type = "resnet50", .input = {16, 16, 3}, .classes = 5, .width = 0.1, .stem = "small"}},
    {"squeezenet", {.type = "squeezenet", .input = {16, 16, 3}, .classes = 5, .width = 0.2}},
    {"mobilenetv2", {.type = "mobilenetv2", .input = {16, 16, 3}, .classes = 5, .width = 0.1}},
    {"mobilenetv3_small", {.type = "mobilenetv3_small", .input = {16, 16, 3}, .classes = 5, .width = 0.2}},
    {"densenet121", {.type = "densenet121", .input = {16, 16, 3}, .classes = 5, .width = 0.1}}};

class GraphOf : public testing::TestWithParam<Zoo> {
 protected:
  const ModelOptions& options = GetParam().options;
  Tensor images = random_tensor({6, options.input[0], options.input[1], options.input[2]}, 1);
  std::unique_ptr<Module> model = make_model(options, 3);

  std::unique_ptr<GraphModule> as_graph() {
    auto made = std::make_unique<GraphModule>(Network(*model, options.input).graph, state_dict(*model));
    load_state_dict(*made, state_dict(*model), "the model");
    return made;
  }
};

/// Losses of steps of gradient descent; the weights move.
std::vector<float> train(Module& model, const Tensor& images, int steps) {
  model.set_training(true);
  const Tensor labels = Tensor::from({images.shape()[0]}, std::vector<int32_t>{0, 1, 2, 3, 4, 0});
  std::vector<float> losses;
  for (int step = 0; step < steps; ++step) {
    const Variable loss = ops::softmax_cross_entropy(model.forward(Variable(images)), labels).loss;
    losses.push_back(loss.value().item());
    loss.backward();
    for (Parameter* parameter : model.parameters()) {
      if (!parameter->learned()) continue;
      float* w = parameter->value().f32();
      const float* g = parameter->gradient().f32();
      for (int64_t i = 0; i < parameter->value().elements(); ++i) w[i] -= 0.05f * g[i];
      parameter->variable.clear_gradient();
    }
  }
  return losses;
}

TEST_P(GraphOf, InfersAndTrainsToTheSameBits) {
  const auto graph = as_graph();
  const auto logits = [&](Module& of) {
    const Inference inference(of);
    return of.forward(Variable(images)).value();
  };
  EXPECT_TRUE(same_bits(logits(*graph), logits(*model)));
  EXPECT_EQ(train(*graph, images, 10), train(*model, images, 10));
  EXPECT_TRUE(same_bits(logits(*graph), logits(*model)));
  const auto after = state_dict(*graph), expected = state_dict(*model);
  ASSERT_EQ(after.size(), expected.size());
  for (size_t i = 0; i < after.size(); ++i) {
    EXPECT_EQ(after[i].first, expected[i].first);
    if (after[i].second.dtype() == DType::f32)
      EXPECT_TRUE(same_bits(after[i].second, expected[i].second)) << after[i].first;
    else
      EXPECT_EQ(after[i].second.data<int64_t>()[0], 10) << after[i].first;
  }
}

TEST_P(GraphOf, CountsWhatTheModelCounts) {
  const auto graph = as_graph();
  const Network a(*model, options.input), b(*graph, options.input);
  EXPECT_EQ(a.totals.macs, b.totals.macs);
  EXPECT_EQ(a.totals.parameters, b.totals.parameters);
  ASSERT_EQ(a.layers.size(), b.layers.size());
  for (size_t i = 0; i < a.layers.size(); ++i) {
    EXPECT_EQ(a.layers[i].name, b.layers[i].name);
    EXPECT_EQ(a.layers[i].type, b.layers[i].type);
    EXPECT_EQ(a.layers[i].shape, b.layers[i].shape);
  }
}

TEST(GraphModule, IsNotTrainedThroughDropoutWithTheSameMaskInEachStep) {
  class Drops : public Module {
   public:
    Variable forward(const Variable& x) override { return ops::flatten(ops::dropout(x, 0.5f, 1)); }
    std::string type() const override { return "drops"; }
  } drops;
  GraphModule graph(Network(drops, {2, 2, 1}).graph);
  const Variable x(random_tensor({3, 2, 2, 1}, 1));
  graph.set_training(false);
  EXPECT_TRUE(same_bits(graph.forward(x).value(), ops::flatten(x).value()));
  graph.set_training(true);
  EXPECT_EQ(message_of([&] { graph.forward(x); }),
            "dropout: a network of which there is but a graph cannot be trained through it yet");
}

INSTANTIATE_TEST_SUITE_P(Zoo, GraphOf, testing::ValuesIn(zoo),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace espalier
