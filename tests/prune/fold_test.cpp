#include "espalier/prune/fold.h"

#include <gtest/gtest.h>

#include "espalier/nn/models/models.h"
#include "espalier/prune/surgery.h"
#include "prune/hand_made.h"
#include "prune/small_net.h"

namespace espalier {
namespace {

/// The layers whose channels' constants can be moved.
std::vector<std::string> that_fold(Module& model, const Shape& input) {
  const Network network(model, input);
  const ChannelGraph graph = channel_graph(model, network.tape);
  const auto folds = groups_that_fold(model, network.tape, graph);
  std::vector<std::string> makers;
  for (size_t g = 0; g < folds.size(); ++g)
    if (folds[g] && graph.groups[g].fixed.empty()) makers.push_back(maker_of(graph.groups[g]));
  return makers;
}

void fold_and_cut(Module& model, const Shape& input, const ChannelVerdicts& kept) {
  const Network network(model, input);
  const ChannelGraph graph = channel_graph(model, network.tape);
  fold_constants(model, network.tape, graph, kept);
  cut(model, cuts_of(graph.groups, kept));
}

void set(Module& model, const std::string& name, const Floats& values) {
  model.find(name)->value() = Tensor::from(model.find(name)->shape(), values);
}

TEST(Fold, AConstantGoesIntoTheNextBias) {
  SmallNet net;
  Linear &a = net.linear("a", 1, 3), &b = net.linear("b", 3, 2);
  net.pass = [&](const Variable& x) { return b.forward(relu(a.forward(ops::flatten(x)))); };
  set(net, "a.bias", {0.5f, 4.0f, -3.0f});
  set(net, "b.weight", {1, 2, 3, 4, 5, 6});
  set(net, "b.bias", {10, 20});
  fold_and_cut(net, {1, 1, 1}, {{1, 0, 0}, {1, 1}});
  EXPECT_EQ(numbers(net.find("b.bias")->value()), (std::vector<float>{10 + 2 * 4, 20 + 5 * 4}))
      << "relu(4) = 4 of channel 1, relu(-3) = 0 of channel 2";
  EXPECT_EQ(numbers(net.find("b.weight")->value()), (std::vector<float>{1, 4}));
}

TEST(Fold, WhatGoesTooTakesNoConstant) {
  SmallNet net;
  Linear &a = net.linear("a", 1, 2), &b = net.linear("b", 2, 2), &c = net.linear("c", 2, 1);
  net.pass = [&](const Variable& x) { return c.forward(relu(b.forward(relu(a.forward(ops::flatten(x)))))); };
  set(net, "a.bias", {0, 1});
  set(net, "b.weight", {1, 2, 3, 5});
  set(net, "b.bias", {0, 4});
  set(net, "c.weight", {1, 7});
  set(net, "c.bias", {10});
  fold_and_cut(net, {1, 1, 1}, {{1, 0}, {1, 0}, {1}});
  EXPECT_EQ(numbers(net.find("b.bias")->value()), (std::vector<float>{2 * 1}));
  EXPECT_EQ(numbers(net.find("c.bias")->value()), (std::vector<float>{10 + 7 * 4}))
      << "relu(4), not relu(4 + 5 * 1)";
}

TEST(Fold, MovingAveragesKeepTheirOwnConstants) {
  SmallNet net;
  Linear &a = net.linear("a", 1, 2), &b = net.linear("b", 2, 1);
  net.pass = [&](const Variable& x) { return b.forward(relu(a.forward(ops::flatten(x)))); };
  for (Parameter* parameter : net.parameters()) parameter->average = Tensor::zeros(parameter->shape());
  set(net, "a.bias", {0, 4});
  set(net, "b.weight", {1, 2});
  set(net, "b.bias", {10});
  net.find("a.bias")->average = Tensor::from({2}, Floats{0, 3});
  net.find("b.weight")->average = Tensor::from({1, 2}, Floats{1, 5});
  net.find("b.bias")->average = Tensor::from({1}, Floats{20});
  fold_and_cut(net, {1, 1, 1}, {{1, 0}, {1}});
  EXPECT_EQ(numbers(net.find("b.bias")->value()), (std::vector<float>{10 + 2 * 4}));
  EXPECT_EQ(numbers(net.find("b.bias")->average), (std::vector<float>{20 + 5 * 3}));
}

TEST(Fold, WithoutABiasItGoesIntoTheMeanOfTheNormBehind) {
  SmallNet net;
  Conv2d &a = net.conv("a", 1, 2, 1, false), &b = net.conv("b", 2, 1, 1, false, 0);
  BatchNorm2d &an = net.norm("an", 2), &bn = net.norm("bn", 1);
  net.pass = [&](const Variable& x) {
    return ops::global_average_pool(b.forward(a.forward(x, an, Activation::relu), bn, Activation::none));
  };
  set(net, "an.bias", {7, 2});
  Floats taps(18);
  for (size_t i = 0; i < 18; ++i) taps[i] = static_cast<float>(i);  // [1,3,3,2]: channel 1 has the odd ones
  set(net, "b.weight", taps);
  set(net, "bn.running_mean", {100});
  fold_and_cut(net, {5, 5, 1}, {{1, 0}, {1}});
  EXPECT_EQ(numbers(net.find("bn.running_mean")->value()), (std::vector<float>{100 - 2 * 81}));
}

TEST(Fold, NothingIsMovedIntoTheMeanOfANormThatServesTwice) {
  SmallNet net;
  Conv2d &a = net.conv("a", 1, 2, 1, false), &b = net.conv("b", 2, 1, 1, false, 0),
         &c = net.conv("c", 2, 1, 1, false, 0);
  BatchNorm2d &an = net.norm("an", 2), &shared = net.norm("shared", 1);
  net.pass = [&](const Variable& x) {
    const Variable y = a.forward(x, an, Activation::relu);
    return ops::global_average_pool(
        ops::add(b.forward(y, shared, Activation::none), c.forward(y, shared, Activation::none)));
  };
  set(net, "an.bias", {7, 2});
  set(net, "shared.running_mean", {100});
  EXPECT_EQ(that_fold(net, {5, 5, 1}), std::vector<std::string>{});
  fold_and_cut(net, {5, 5, 1}, {{1, 0}, {1}});
  EXPECT_EQ(numbers(net.find("shared.running_mean")->value()), (std::vector<float>{100}));
}

TEST(Fold, NothingIsMovedIntoAPaddedConvolution) {
  SmallNet net;
  Conv2d &a = net.conv("a", 1, 2), &b = net.conv("b", 2, 1);
  net.pass = [&](const Variable& x) { return b.forward(relu(a.forward(x))); };
  set(net, "a.bias", {3, 4});
  const auto before = numbers(net.find("b.bias")->value());
  fold_and_cut(net, {5, 5, 1}, {{1, 0}, {1}});
  EXPECT_EQ(numbers(net.find("b.bias")->value()), before);
}

std::unique_ptr<Module> zoo(const char* type, const Shape& input) {
  return make_model({.type = type, .input = input, .classes = 10, .width = 0.125}, 0);
}

TEST(Fold, WhatFoldsIsReadByNoPaddedConvolution) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(that_fold(*zoo("vgg11", {16, 16, 3}), {16, 16, 3}), (Names{"features.25"}));
  EXPECT_EQ(that_fold(*zoo("resnet20", {16, 16, 3}), {16, 16, 3}), Names{});
  EXPECT_EQ(that_fold(*zoo("lenet300", {28, 28, 1}), {28, 28, 1}), (Names{"fc1", "fc2"}));
  EXPECT_EQ(that_fold(*zoo("lenet5", {28, 28, 1}), {28, 28, 1}), (Names{"conv1", "conv2", "fc1"}));
  const auto bottlenecks = that_fold(*zoo("resnet50", {32, 32, 3}), {32, 32, 3});
  EXPECT_EQ(bottlenecks.size(), 1u + 16 + 4) << "the stem, each conv2, what each stage adds up";
  EXPECT_EQ(bottlenecks[0], "conv1");
  EXPECT_EQ(bottlenecks[1], "layer1.0.downsample.0");
  EXPECT_EQ(bottlenecks[2], "layer1.0.conv2");
}

/// Channels without scale, of which shifts are left, go: the network must not notice.
TEST(Fold, ANetworkThatLosesConstantChannelsSaysTheSame) {
  const Shape input{32, 32, 3};
  for (const char* type : {"resnet50", "vgg11", "lenet5"}) {
    SCOPED_TRACE(type);
    const auto model = zoo(type, input), without = zoo(type, input);
    for (Module* one : {model.get(), without.get()}) randomize(*one, 5);
    const Network network(*model, input);
    const ChannelGraph graph = channel_graph(*model, network.tape);
    const auto folds = groups_that_fold(*model, network.tape, graph);
    ChannelVerdicts kept;
    for (size_t g = 0; g < graph.groups.size(); ++g) {
      kept.emplace_back(static_cast<size_t>(graph.groups[g].channels), uint8_t{1});
      if (!folds[g] || !graph.groups[g].fixed.empty()) continue;
      for (size_t c = 1; c < kept[g].size(); c += 2) kept[g][c] = 0;
    }
    const auto zero_all_but_shifts = [&](Module& one) {
      std::map<std::string, Tensor> shifts;
      for (const Parameter* parameter : one.parameters())
        if (parameter->role == Role::shift || parameter->role == Role::bias)
          shifts[parameter->name] = Tensor::from(parameter->shape(), Floats(numbers(parameter->value())));
      zero_channels(channel_graph(one, Network(one, input).tape).groups, kept);
      for (auto& [name, shift] : shifts) one.find(name)->value() = shift;
    };
    zero_all_but_shifts(*model);
    zero_all_but_shifts(*without);
    const Doubles before = outputs(*model, input);
    fold_and_cut(*model, input, kept);
    cut(*without, cuts_of(graph.groups, kept));
    const Doubles after = outputs(*model, input), dropped = outputs(*without, input);
    double largest = 0, difference = 0, unfolded = 0;
    for (size_t i = 0; i < before.size(); ++i) {
      largest = std::max(largest, std::abs(before[i]));
      difference = std::max(difference, std::abs(before[i] - after[i]));
      unfolded = std::max(unfolded, std::abs(before[i] - dropped[i]));
    }
    EXPECT_LE(difference, 1e-4 * largest);
    EXPECT_GT(unfolded, 0.01 * largest) << "the constants matter";
  }
}

}  // namespace
}  // namespace espalier
