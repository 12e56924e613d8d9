#include "espalier/nn/layer_outputs.h"

#include <gtest/gtest.h>

#include "espalier/nn/graph_module.h"
#include "espalier/nn/inference.h"
#include "espalier/nn/layers.h"
#include "espalier/nn/models/models.h"
#include "espalier/nn/network.h"
#include "support/bad_input.h"
#include "support/numbers.h"

namespace espalier {
namespace {

const ModelOptions observed_resnet{.type = "resnet20", .input = {8, 8, 3}, .width = 0.25};
const Shape observed_image{8, 8, 3};

/// With statistics that a batch has moved.
std::unique_ptr<Module> trained_observed_resnet() {
  auto model = make_model(observed_resnet, 5);
  model->forward(Variable(random_tensor({8, 8, 8, 3}, 1)));
  return model;
}

/// What the layers of a model put out, in inference with or without ops that run together.
std::vector<Tensor> outputs_of_layers(Module& model, const std::vector<std::string>& names,
                                      const Tensor& images) {
  const Inference inference(model);
  LayerOutputs seen(names);
  model.forward(Variable(images));
  seen.close();
  std::vector<Tensor> all;
  for (size_t i = 0; i < names.size(); ++i) all.push_back(seen[i].value());
  return all;
}

TEST(LayerOutputs, AreThoseOfTheNamedLayersLastOp) {
  struct Two : Module {
    Linear& first = add_child<Linear>("fc.1", 4, 3, true, Activation::relu);
    Linear& second = add_child<Linear>("fc.2", 3, 2);
    Linear& head = add_child<Linear>("head", 2, 5);
    std::vector<Variable> made;
    Two() {
      for (Parameter* p : parameters()) p->value().copy_from(random_tensor(p->shape(), 3));
    }
    Variable forward(const Variable& x) override {
      made = {first(ops::flatten(x))};
      made.push_back(second(made[0]));
      made.push_back(ops::activation(made[1], Activation::relu));
      made.push_back(head(made[2]));
      return made.back();
    }
    std::string type() const override { return "two"; }
  } two;
  LayerOutputs seen({"fc.1", "fc", "head"});
  two.forward(Variable(random_tensor({2, 2, 2, 1}, 1)));
  seen.close();
  EXPECT_EQ(seen[0].state(), two.made[0].state()) << "after its own activation";
  EXPECT_EQ(seen[1].state(), two.made[1].state()) << "and before one that is an op of its own";
  EXPECT_EQ(seen[2].state(), two.made[3].state());
  EXPECT_TRUE(seen[0].requires_gradient()) << "gradients flow back from there, too";
  two.forward(Variable(random_tensor({2, 2, 2, 1}, 2)));
  EXPECT_NE(seen[2].state(), two.made[3].state()) << "it is closed";
}

TEST(LayerOutputs, OfANetworkWhoseNormsAreFoldedAreThoseOfOneWhoseAreNot) {
  const auto model = trained_observed_resnet();
  const Tensor images = random_tensor({3, 8, 8, 3}, 2);
  const std::vector<std::string> names{"layer1", "layer2.0", "layer3", "bn1"};
  const auto folded = outputs_of_layers(*model, names, images);
  model->set_training(false);
  LayerOutputs seen(names);  // with gradients, for which nothing is folded
  model->forward(Variable(images));
  seen.close();
  for (size_t i = 0; i < names.size(); ++i)
    EXPECT_TRUE(near(folded[i], doubles(seen[i].value().span<float>()), 1e-5)) << names[i];
  EXPECT_EQ(folded[1].shape(), (Shape{3, 4, 4, 8}));
}

TEST(LayerOutputs, TakesApartOnlyWhatItLooksBetween) {
  const auto model = trained_observed_resnet();
  const Inference inference(*model);
  const auto recorded = [&](const std::vector<std::string>& names) {
    const uint64_t before = ops_recorded();
    const LayerOutputs seen(names);
    model->forward(Variable(random_tensor({2, 8, 8, 3}, 2)));
    return ops_recorded() - before;
  };
  EXPECT_EQ(recorded({"layer1", "layer3.2"}), 2u) << "the pooling and the last layer";
  EXPECT_EQ(recorded({"layer1.0.conv1"}), 4u) << "and a convolution and its norm";
}

TEST(LayerOutputs, OfAGraphAreThoseOfTheModuleItWasTracedFrom) {
  const auto model = trained_observed_resnet();
  GraphModule graph(Network(*model, observed_image).graph, state_dict(*model));
  load_state_dict(graph, state_dict(*model), "test");
  const Tensor images = random_tensor({3, 8, 8, 3}, 2);
  const std::vector<std::string> names{"layer1", "layer2.0.conv2", "fc"};
  const auto expected = outputs_of_layers(*model, names, images),
             found = outputs_of_layers(graph, names, images);
  for (size_t i = 0; i < names.size(); ++i) EXPECT_TRUE(same_bits(found[i], expected[i])) << names[i];
}

TEST(LayerOutputs, AreToldByAGraphBefore) {
  const auto model = make_model(observed_resnet, 5);
  const Graph graph = Network(*model, observed_image).graph;
  EXPECT_EQ(graph.shape(last_of_layer(graph, "layer2")->output), (Shape{1, 4, 4, 8}));
  EXPECT_EQ(graph.layer_of(*last_of_layer(graph, "layer2")), "layer2.2.bn2");
  EXPECT_EQ(last_of_layer(graph, "layer9"), nullptr);
  EXPECT_EQ(last_of_layer(graph, "layer"), nullptr) << "is the beginning of a name, not one";
}

TEST(LayerOutputs, ALayerThatHasNotRunIsAnError) {
  const LayerOutputs seen({"fc9"});
  make_model({.type = "mlp", .input = {2, 2, 1}, .classes = 2, .hidden = {3}}, 1)
      ->forward(Variable(Tensor::zeros({1, 2, 2, 1})));
  EXPECT_EQ(message_of([&] { seen[0]; }), "no layer 'fc9' has run");
}

TEST(LayerOutputs, AnOpThatIsNotKnownHereDoesNotStandInWithZeros) {
  struct Own : Module {
    Linear& fc = add_child<Linear>("fc", 4, 2);
    Variable forward(const Variable& x) override {
      const Variable y = fc(ops::flatten(x));
      return record({.op = "unknown",
                     .attributes = {},
                     .inputs = {y},
                     .output = y.value().clone(),
                     .channels = Channels::kept,
                     .backward = {}});
    }
    std::string type() const override { return "own"; }
  } own;
  GraphModule graph(Network(own, {2, 2, 1}).graph, state_dict(own));
  const Variable images(Tensor::zeros({1, 2, 2, 1}));
  const LayerOutputs seen({"fc"});
  EXPECT_TRUE(contains(message_of([&] { graph.forward(images); }), "op 'unknown' is none of Espalier's"));
}

}  // namespace
}  // namespace espalier
