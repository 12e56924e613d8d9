#include "espalier/nn/sequential.h"

#include <gtest/gtest.h>

#include "espalier/autograd/random_pass.h"
#include "espalier/graph/trace.h"
#include "espalier/nn/graph_module.h"
#include "espalier/nn/init.h"
#include "espalier/nn/network.h"
#include "support/bad_input.h"
#include "support/numbers.h"

namespace espalier {
namespace {

using Layers = std::vector<LayerSpec>;

std::unique_ptr<Sequential> made(const Layers& layers, const Shape& input = {6, 6, 3}, double width = 1) {
  LayerContext context{.classes = 4, .width = width, .activation = Activation::relu};
  return std::make_unique<Sequential>(layers, input, context, "layers");
}

std::string mistake(const Layers& layers, const Shape& input = {6, 6, 3}) {
  return message_of([&] { made(layers, input); });
}

const LayerSpec norm{.type = "norm"}, activation{.type = "activation"}, flatten{.type = "flatten"},
    linear{.type = "linear"}, pool{.type = "pool"};
LayerSpec conv(int64_t channels, int64_t kernel = 3, std::optional<int64_t> stride = {}) {
  return {.type = "conv", .channels = channels, .kernel = kernel, .stride = stride};
}

/// Ops one by one, with what the network holds.
struct ByHand {
  Module& network;
  Variable parameter(const std::string& name) { return network.find(name)->variable; }
  Variable conv(const Variable& x, const std::string& name, const ops::Conv2dOptions& options) {
    const Parameter* bias = network.find(name + ".bias");
    return ops::conv2d(x, parameter(name + ".weight"), bias ? bias->variable : Variable(), options);
  }
  Variable norm(const Variable& x, const std::string& name) {
    return ops::batch_norm(x, {.gamma = parameter(name + ".weight"),
                               .beta = parameter(name + ".bias"),
                               .running_mean = Variable(parameter(name + ".running_mean").value().clone()),
                               .running_variance = Variable(parameter(name + ".running_var").value().clone()),
                               .training = network.training()});
  }
  Variable linear(const Variable& x, const std::string& name) {
    return ops::linear(x, parameter(name + ".weight"), parameter(name + ".bias"));
  }
};

Variable relu(const Variable& x) { return ops::activation(x, Activation::relu); }

TEST(Sequential, ComputesItsLayersOneByOne) {
  const auto network = made(
      {conv(8),
       norm,
       activation,
       {.type = "residual",
        .name = "narrow",
        .layers = {conv(10, 3, 2), norm, activation, conv(10), norm},
        .shortcut = Layers{conv(10, 1, 2), norm}},
       activation,
       {.type = "repeat", .times = 2, .layers = {{.type = "residual", .layers = {conv(10, 1)}}, activation}},
       {.type = "concat", .branches = {{conv(2, 1), activation}, {}, {norm}}},
       {.type = "pool", .stride = 1, .pad = 1, .kind = "average", .window = 3},
       {.type = "pool", .kind = "global_average"},
       {.type = "linear", .outputs = 7},
       {.type = "activation", .function = "tanh"},
       norm,
       linear});
  initialize(*network, 3);
  EXPECT_EQ(network->output(), (Shape{4}));
  const Variable x(random_tensor({5, 6, 6, 3}, 1));
  const auto by_hand = [&] {
    ByHand hand{*network};
    Variable y = relu(hand.norm(hand.conv(x, "conv1", {.pad = 1}), "norm1"));
    Variable body = relu(hand.norm(hand.conv(y, "narrow.conv1", {.stride = 2, .pad = 1}), "narrow.norm1"));
    body = hand.norm(hand.conv(body, "narrow.conv2", {.pad = 1}), "narrow.norm2");
    y = relu(ops::add(
        body, hand.norm(hand.conv(y, "narrow.shortcut.conv1", {.stride = 2}), "narrow.shortcut.norm1")));
    for (const char* name : {"repeat1.0.residual1.conv1", "repeat1.1.residual1.conv1"})
      y = relu(ops::add(hand.conv(y, name, {}), y));
    y = ops::concat({relu(hand.conv(y, "concat1.0.conv1", {})), y, hand.norm(y, "concat1.2.norm1")});
    y = ops::global_average_pool(ops::average_pool2d(y, 3, 1, 1));
    y = hand.norm(ops::activation(hand.linear(y, "linear1"), Activation::tanh), "norm2");
    return hand.linear(y, "linear2");
  };
  for (const bool training : {false, true}) {
    network->set_training(training);
    const Tensor expected = by_hand().value();
    EXPECT_TRUE(near(network->forward(x).value(), doubles(expected.span<float>()), 1e-5)) << training;
  }
}

TEST(Sequential, WhatFollowsEachOtherIsOneOp) {
  const auto network = made({conv(8),
                             norm,
                             activation,
                             {.type = "residual", .layers = {conv(8), norm}},
                             activation,
                             flatten,
                             linear,
                             activation});
  const Network seen(*network, {6, 6, 3});
  std::string ops;
  for (const GraphNode& node : seen.graph.nodes) ops += node.op + " ";
  EXPECT_EQ(ops, "conv2d batch_norm conv2d batch_norm flatten linear ");
  EXPECT_EQ(seen.graph.nodes[3].inputs.size(), 6u);  // with the residual
}

TEST(Sequential, NamesAndNumbersWhatHasNone) {
  const auto network =
      made({conv(8), {.type = "conv", .name = "own", .channels = 4}, norm, conv(2), flatten, linear},
           {6, 6, 3}, 0.5);
  std::string names;
  for (const Parameter* parameter : network->parameters())
    if (parameter->learned()) names += parameter->name + parameter->shape().str() + " ";
  EXPECT_EQ(names,
            "conv1.weight[4, 3, 3, 3] conv1.bias[4] own.weight[2, 3, 3, 4] norm1.weight[2] norm1.bias[2] "
            "conv2.weight[1, 3, 3, 2] conv2.bias[1] linear1.weight[4, 36] linear1.bias[4] ");
}

TEST(Sequential, RowsOfPixelsLieInFilesAsPyTorchHasThem) {
  const LayerSpec dropout{.type = "dropout"};
  for (const Layers& layers :
       {Layers{flatten, dropout, linear},
        Layers{{.type = "repeat", .times = 1, .layers = {flatten}}, activation, linear},
        Layers{flatten, {.type = "residual", .layers = {dropout}}, linear}}) {
    const auto network = made(layers);
    const Network seen(*network, {6, 6, 3});
    for (int i = 0; i < static_cast<int>(seen.graph.values.size()); ++i) {
      if (!seen.graph.is_parameter(i)) continue;
      const FileLayout declared = network->find(seen.graph.values[static_cast<size_t>(i)].parameter)->layout,
                       read = file_layout(seen.graph, i);
      EXPECT_EQ(declared.kind, read.kind) << seen.graph.values[static_cast<size_t>(i)].parameter;
      EXPECT_EQ(declared.positions, read.positions);
    }
  }
}

TEST(Sequential, DropsInTrainingAlone) {
  const auto network = made({flatten, {.type = "dropout", .p = 0.9}});
  const Variable x(random_tensor({2, 6, 6, 3}, 1, 1, 2));
  network->set_training(false);
  EXPECT_TRUE(same_bits(network->forward(x).value(), ops::flatten(x).value()));
  network->set_training(true);
  const RandomPass random(1);
  const Tensor dropped = network->forward(x).value();
  EXPECT_GT(std::ranges::count(dropped.span<float>(), 0.0f), 150);
}

TEST(Sequential, LayersThatDoNotFitAreRefusedByPlace) {
  EXPECT_EQ(
      mistake({conv(8), linear}),
      "layers/1 (linear): takes a row [I], but an image [6, 6, 8] comes in: a 'flatten', or a 'pool' of "
      "kind 'global_average', makes a row of it");
  EXPECT_EQ(mistake({flatten, conv(8)}), "layers/1 (conv): takes an image [H,W,C], but [108] comes in");
  EXPECT_EQ(mistake({pool, pool, {.type = "conv", .channels = 8, .kernel = 5, .pad = 0}}),
            "layers/2 (conv): a window of 5x5 with padding 0 does not fit what comes in, [1, 1, 3]");
  EXPECT_EQ(mistake({pool, pool, pool}),
            "layers/2 (pool): a window of 2x2 with padding 0 does not fit what comes in, [1, 1, 3]");
  EXPECT_EQ(mistake({{.type = "pool", .pad = 2}}),
            "layers/0 (pool): padding 2 is more than half a window of 2x2");
  EXPECT_EQ(mistake({{.type = "conv", .channels = 8, .groups = 2}}),
            "layers/0 (conv): 2 groups do not divide the 3 channels that come in and the 8 that come out");
  EXPECT_EQ(mistake({{.type = "residual", .layers = {conv(8, 3, 2)}}}),
            "layers/0 (residual): its layers put out [3, 3, 8], but what comes in is [6, 6, 3]; a 'shortcut' "
            "can make it that");
  EXPECT_EQ(
      mistake({{.type = "residual", .layers = {{.type = "conv", .channels = 3, .kernel = 2}}}}),
      "layers/0 (residual): its layers put out [7, 7, 3], but what comes in is [6, 6, 3]; a kernel of even "
      "size does not keep height and width");
  EXPECT_EQ(
      mistake({{.type = "repeat",
                .times = 2,
                .layers = {{.type = "residual", .layers = {conv(8)}, .shortcut = Layers{conv(4)}}}}}),
      "layers/0/layers/0 (residual): its layers put out [6, 6, 8], but its shortcut puts out [6, 6, 4]");
  EXPECT_EQ(mistake({{.type = "concat", .branches = {{}, {pool}}}}),
            "layers/0 (concat): its branches put out [6, 6, 3] and [3, 3, 3], which cannot lie side by side");
  EXPECT_EQ(mistake({{.type = "concat", .branches = {{}, {flatten, conv(3)}}}}),
            "layers/0/branches/1/1 (conv): takes an image [H,W,C], but [108] comes in");
  EXPECT_EQ(mistake({conv(8), {.type = "norm", .name = "conv1"}}),
            "layers/1 (norm): the name 'conv1' is taken");
  EXPECT_EQ(mistake({{.type = "convv"}}), "layers/0 (convv): no such layer, did you mean 'conv'?");
  const std::string order =
      "stands between a flatten of 36 pixels and a linear layer, where PyTorch has the numbers in another "
      "order; "
      "put it before the flatten, or after the linear layer";
  EXPECT_EQ(mistake({flatten, norm, linear}), "layers/1 (norm): " + order);
  EXPECT_EQ(mistake({flatten, {.type = "concat", .branches = {{}, {}}}, linear}),
            "layers/1 (concat): " + order);
  EXPECT_EQ(mistake({{.type = "concat", .branches = {{flatten}, {flatten}}}}), "layers/0 (concat): " + order);
  EXPECT_EQ(mistake({flatten, {.type = "residual", .layers = {{.type = "linear", .outputs = 108}}}}),
            "layers/1 (residual): " + order);
  EXPECT_EQ(mistake({{.type = "norm", .name = "shortcut"}}),
            "layers/0 (norm): the name 'shortcut' is that of a residual's own");
  EXPECT_EQ(mistake({{.type = "repeat", .times = 64, .layers = {{.type = "concat", .branches = {{}, {}}}}}}),
            "layers/0/layers/0 (concat): puts out [6, 6, 100663296], more than 2^31 numbers an image");
  const LayerSpec many{.type = "repeat", .times = 200, .layers = {norm}};
  EXPECT_EQ(mistake({{.type = "repeat", .times = 200, .layers = {many}}}),
            "layers/0/layers/0/layers/0 (norm): more than 10,000 layers, with those that are repeated");
}

}  // namespace
}  // namespace espalier
