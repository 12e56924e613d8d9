// Every network of the zoo is the same to the bit as a graph.
#include "espalier/nn/graph_module.h"

#include <gtest/gtest.h>

#include "espalier/autograd/random_pass.h"
#include "espalier/graph/graph_json.h"
#include "espalier/nn/inference.h"
#include "espalier/nn/init.h"
#include "espalier/nn/layers.h"
#include "espalier/nn/network.h"
#include "support/bad_input.h"
#include "support/numbers.h"
#include "support/zoo.h"

namespace espalier {
namespace {

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

/// All that moves tokens about, and attention of one head.
class Tokens : public Module {
 public:
  Tokens()
      : conv_(add_child<Conv2d>("conv", 3, 6, 2, ops::Conv2dOptions{.stride = 2})),
        token_(add_child<Embedding>("token", Shape{1, 1, 6})),
        norm_(add_child<LayerNorm>("norm", 6)),
        qk_(add_child<Linear>("qk", 6, 12)),
        fc_(add_child<Linear>("fc", 6, 5)) {}
  Variable forward(const Variable& x) override {
    const Variable patches = ops::reshape(conv_.forward(ops::pad(x, {1, 0, 0, 1}, 0.5f)), {-1, 6});
    const Variable tokens = ops::concat({token_.forward(patches), patches}, 1);
    const int64_t count = tokens.shape()[1];
    const Variable y = norm_.forward(tokens);
    const Variable qk = ops::permute(ops::reshape(qk_.forward(y), {count, 2, 6}), {0, 2, 1, 3});
    const Variable shares =
        ops::softmax(ops::matmul(ops::select(qk, 1, 0), ops::select(qk, 1, 1), false, true));
    return fc_.forward(ops::select(ops::add(tokens, ops::matmul(shares, y)), 1, 0));
  }
  std::string type() const override { return "tokens"; }

 private:
  Conv2d& conv_;
  Embedding& token_;
  LayerNorm& norm_;
  Linear &qk_, &fc_;
};

TEST(GraphModule, MovesTokensAsItsModuleDoesInAnyBatch) {
  Tokens model;
  const Shape image{5, 7, 3};
  initialize(model, 1);
  const Network network(model, image);
  // 12 patches of 12 pixels; 13 tokens; both products of attention under no weight.
  EXPECT_EQ(network.totals.macs, 12 * 12 * 6 + 13 * 6 * 12 + 2 * 13 * 13 * 6 + 6 * 5);
  EXPECT_EQ(network.totals.parameters, 6 * 12 + 6 + 6 + 12 + 6 * 12 + 12 + 6 * 5 + 5);
  GraphModule graph(graph_from_json(to_json(network.graph).dump(), "the model"));
  load_state_dict(graph, state_dict(model), "the model");
  EXPECT_EQ(Network(graph, image).totals.parameters, network.totals.parameters);
  EXPECT_EQ(graph.find("token")->role, Role::embedding);
  const Tensor images = random_tensor({6, 5, 7, 3}, 1);
  EXPECT_EQ(train(graph, images, 3), train(model, images, 3));
  EXPECT_TRUE(same_bits(graph(Variable(images)).value(), model(Variable(images)).value()));
}

TEST(GraphModule, DropsInTrainingWhatTheNetworkItselfDrops) {
  class Drops : public Module {
   public:
    Drops() : first_(add_child<Dropout>("first", 0.5f)), second_(add_child<Dropout>("second", 0.3f)) {}
    Variable forward(const Variable& x) override { return ops::flatten(second_.forward(first_.forward(x))); }
    std::string type() const override { return "drops"; }

   private:
    Dropout &first_, &second_;
  } drops;
  GraphModule graph(Network(drops, {9, 9, 1}).graph);
  const Variable x(random_tensor({3, 9, 9, 1}, 1));
  graph.set_training(false);
  EXPECT_TRUE(same_bits(graph.forward(x).value(), ops::flatten(x).value()));
  graph.set_training(true);
  const auto pass = [&](Module& network, uint64_t key) {
    const RandomPass random(key);
    return network.forward(x).value();
  };
  EXPECT_TRUE(same_bits(pass(graph, 1), pass(drops, 1)));
  EXPECT_FALSE(same_bits(pass(graph, 1), pass(graph, 2)));
}

INSTANTIATE_TEST_SUITE_P(Zoo, GraphOf, testing::ValuesIn(zoo()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace espalier
