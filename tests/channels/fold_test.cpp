#include "espalier/channels/fold.h"

#include <gtest/gtest.h>

#include <cmath>

#include "espalier/channels/surgery.h"
#include "espalier/core/random.h"
#include "espalier/graph/ops/activation_bias.h"
#include "espalier/nn/models/models.h"
#include "espalier/prune/pruner.h"
#include "prune/hand_made.h"
#include "prune/small_net.h"

namespace espalier {
namespace {

/// The layers whose channels' constants can be moved.
std::vector<std::string> that_fold(Module& model, const Shape& input) {
  const Network network(model, input);
  const ChannelGraph graph = channel_graph(model, network.graph);
  const auto folds = groups_that_fold(model, network.graph, graph);
  std::vector<std::string> makers;
  for (size_t g = 0; g < folds.size(); ++g)
    if (folds[g] && graph.groups[g].fixed.empty()) makers.push_back(maker_of(graph.groups[g]));
  return makers;
}

void fold_and_cut(Module& model, const Shape& input, const ChannelVerdicts& kept) {
  const Network network(model, input);
  const ChannelGraph graph = channel_graph(model, network.graph);
  fold_constants(model, network.graph, graph, kept);
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

TEST(Fold, AConstantThatAConstantGatesIsTheirProduct) {
  SmallNet net;
  Linear &a = net.linear("a", 1, 2), &gate = net.linear("gate", 1, 2), &b = net.linear("b", 2, 1);
  net.pass = [&](const Variable& x) {
    const Variable flat = ops::flatten(x);
    return b.forward(ops::mul(relu(a.forward(flat)), relu(gate.forward(flat))));
  };
  set(net, "a.bias", {0, 4});
  set(net, "gate.bias", {0, 3});
  set(net, "b.weight", {1, 2});
  set(net, "b.bias", {10});
  fold_and_cut(net, {1, 1, 1}, {{1, 0}, {1}});
  EXPECT_EQ(numbers(net.find("b.bias")->value()), (std::vector<float>{10 + 2 * 4 * 3}));
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
  for (Parameter* parameter : net.parameters())
    parameter->state["average"] = Tensor::zeros(parameter->shape());
  set(net, "a.bias", {0, 4});
  set(net, "b.weight", {1, 2});
  set(net, "b.bias", {10});
  net.find("a.bias")->state["average"] = Tensor::from({2}, Floats{0, 3});
  net.find("b.weight")->state["average"] = Tensor::from({1, 2}, Floats{1, 5});
  net.find("b.bias")->state["average"] = Tensor::from({1}, Floats{20});
  fold_and_cut(net, {1, 1, 1}, {{1, 0}, {1}});
  EXPECT_EQ(numbers(net.find("b.bias")->value()), (std::vector<float>{10 + 2 * 4}));
  EXPECT_EQ(numbers(net.find("b.bias")->state_of("average")), (std::vector<float>{20 + 5 * 3}));
}

TEST(Fold, WhatIsFrozenHasNoAverageAndMovesOnce) {
  SmallNet net;
  Linear &a = net.linear("a", 1, 2), &b = net.linear("b", 2, 1);
  net.pass = [&](const Variable& x) { return b.forward(relu(a.forward(ops::flatten(x)))); };
  set(net, "a.bias", {0, 4});
  set(net, "b.weight", {1, 2});
  set(net, "b.bias", {10});
  net.find("a.bias")->state["average"] = Tensor::from({2}, Floats{0, 3});
  fold_and_cut(net, {1, 1, 1}, {{1, 0}, {1}});
  EXPECT_EQ(numbers(net.find("b.bias")->value()), (std::vector<float>{10 + 2 * 4}));
  EXPECT_FALSE(net.find("b.bias")->state_of("average").defined());
}

TEST(Fold, ABiasThatAMaskHoldsTakesNothing) {
  SmallNet net;
  Linear &a = net.linear("a", 1, 2), &b = net.linear("b", 2, 2);
  net.pass = [&](const Variable& x) { return b.forward(relu(a.forward(ops::flatten(x)))); };
  set(net, "a.bias", {0, 4});
  set(net, "b.weight", {1, 2, 3, 5});
  set(net, "b.bias", {10, 0});
  net.find("b.bias")->set_mask(Tensor::from<uint8_t>({2}, std::vector<uint8_t>{1, 0}));
  fold_and_cut(net, {1, 1, 1}, {{1, 0}, {1, 1}});
  EXPECT_EQ(numbers(net.find("b.bias")->value()), (std::vector<float>{18, 0}));
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

TEST(Fold, NothingIsMovedIntoTheMeanOfANormThatAddsWhatItReads) {
  SmallNet net;
  Conv2d &a = net.conv("a", 1, 2, 1, false), &b = net.conv("b", 2, 1, 1, false, 0);
  BatchNorm2d &an = net.norm("an", 2), &bn = net.norm("bn", 1);
  net.pass = [&](const Variable& x) {
    const Variable z = b.forward(a.forward(x, an, Activation::relu));
    return ops::global_average_pool(ops::batch_norm(z, bn.begin_pass(), Activation::none, z));
  };
  EXPECT_EQ(that_fold(net, {5, 5, 1}), std::vector<std::string>{});
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

TEST(Fold, NothingIsMovedIntoTheMeanOfANormBehindAnActivation) {
  SmallNet net;
  Conv2d &a = net.conv("a", 1, 2), &b = net.conv("b", 2, 1, 1, false, 0, Activation::relu);
  BatchNorm2d& bn = net.norm("bn", 1);
  net.pass = [&](const Variable& x) {
    return ops::global_average_pool(bn.forward(b.forward(relu(a.forward(x)))));
  };
  set(net, "a.bias", {0, 5});
  set(net, "b.weight", Floats(18, -1.0f));
  EXPECT_EQ(that_fold(net, {5, 5, 1}), std::vector<std::string>{});
  fold_and_cut(net, {5, 5, 1}, {{1, 0}, {1}});
  EXPECT_EQ(numbers(net.find("bn.running_mean")->value()), (std::vector<float>{0}))
      << "relu(-45) = 0: the norm never sees the constant";
}

TEST(Fold, WhatStaysSaysNoConstantThoughTheActivationOfZeroIsOne) {
  SmallNet net;
  Linear &a = net.linear("a", 1, 3), &b = net.linear("b", 3, 1);
  net.pass = [&](const Variable& x) {
    return b.forward(ops::activation(a.forward(ops::flatten(x)), Activation::sigmoid));
  };
  set(net, "a.bias", {1, 0, 2});
  set(net, "b.weight", {16, 4, 64});
  set(net, "b.bias", {10});
  fold_and_cut(net, {1, 1, 1}, {{1, 0, 1}, {1}});
  EXPECT_EQ(numbers(net.find("b.bias")->value()), (std::vector<float>{10 + 4 * 0.5f}))
      << "sigmoid(0) of channel 1, of 0 and 2 nothing";
}

TEST(Fold, AChannelWithoutABiasSaysTheActivationOfZero) {
  SmallNet net;
  Conv2d &a = net.conv("a", 1, 2, 1, false, 1, Activation::sigmoid), &b = net.conv("b", 2, 1, 1, true, 0);
  net.pass = [&](const Variable& x) { return ops::global_average_pool(b.forward(a.forward(x))); };
  set(net, "b.weight", Floats(18, 1.0f));
  set(net, "b.bias", {10});
  fold_and_cut(net, {5, 5, 1}, {{1, 0}, {1}});
  EXPECT_EQ(numbers(net.find("b.bias")->value()), (std::vector<float>{10 + 9 * 0.5f}));
}

std::unique_ptr<Module> zoo(const char* type, const Shape& input) {
  return make_model({.type = type, .input = input, .classes = 10, .width = 0.125}, 0);
}

TEST(Fold, WhatFoldsIsReadByNoPaddedConvolution) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(that_fold(*zoo("vgg11", {16, 16, 3}), {16, 16, 3}), (Names{"features.25"}));
  EXPECT_EQ(that_fold(*zoo("resnet20", {16, 16, 3}), {16, 16, 3}), Names{});
  Names hidden;
  for (int i = 0; i < 9; ++i) hidden.push_back(join("blocks.", i, ".mlp.fc1"));
  EXPECT_EQ(that_fold(*zoo("vit", {8, 8, 3}), {8, 8, 3}), hidden);
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
    const ChannelGraph graph = channel_graph(*model, network.graph);
    const auto folds = groups_that_fold(*model, network.graph, graph);
    ChannelVerdicts kept;
    for (size_t g = 0; g < graph.groups.size(); ++g) {
      kept.emplace_back(static_cast<size_t>(graph.groups[g].channels), uint8_t{1});
      if (!folds[g] || !graph.groups[g].fixed.empty()) continue;
      for (size_t c = 1; c < kept[g].size(); c += 2) kept[g][c] = 0;
    }
    for (Module* one : {model.get(), without.get()})
      zero_channels(channel_graph(*one, Network(*one, input).graph).groups, kept, folds);
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

/// Layers drawn by the seed, with and without bias, padding, norm and activation of their own, which are
/// added up or put side by side, pooled and scaled.
class RandomNet : public SmallNet {
 public:
  RandomNet(Activation f, uint64_t seed) : f_(f), seed_(seed) {
    const Step stem = layer("stem", 3, 6, draw(2)), pooled = pool();
    const bool same = draw(2), padded = draw(2);
    const Step left = layer("left", 6, 5, padded), right = layer("right", 6, 5, padded);
    const Step middle = layer("middle", same ? 5 : 10, 7, draw(2)), last = layer("last", 7, 6, draw(2));
    const float factor = draw(2) ? 1.5f : 1.0f;
    Linear &fc1 = linear("fc1", 6, 9, draw(2), draw(2) ? f_ : Activation::none),
           &fc2 = linear("fc2", 9, 4, true, Activation::none);
    BatchNorm2d* const between = draw(2) ? &norm("between", 9) : nullptr;
    pass = [=, &fc1, &fc2, f = f_](const Variable& x) {
      const Variable y = pooled(stem(x));
      const Variable two = same ? ops::add(left(y), right(y)) : ops::concat({left(y), right(y)});
      const Variable z = ops::global_average_pool(last(ops::scale(middle(two), factor)));
      const Variable hidden = fc1.forward(z);
      return fc2.forward(ops::activation(between ? between->forward(hidden) : hidden, f));
    };
    randomize(*this, seed * 1000);
    for (Parameter* parameter : parameters())  // sigmoids and tanhs are to tell images apart
      if (parameter->role == Role::weight)
        for (float& w : parameter->value().span<float>()) w *= 2;
  }

 private:
  using Step = std::function<Variable(const Variable&)>;

  int64_t draw(int64_t below) { return random_below(seed_, drawn_++, below); }

  Linear& linear(const std::string& name, int64_t in, int64_t out, bool bias, Activation f) {
    return add_child<Linear>(name, in, out, bias, f);
  }

  Step layer(const std::string& name, int64_t in, int64_t out, bool padded) {
    const bool own = draw(2), apart = draw(2), normed = draw(2);
    Conv2d& a = conv(name, in, out, 1, draw(2), padded, own ? f_ : Activation::none);
    BatchNorm2d* const n = normed ? &norm(name + "_norm", out) : nullptr;
    return [=, &a, f = f_](const Variable& x) {
      const Variable y = n ? n->forward(a.forward(x)) : a.forward(x);
      return apart ? ops::activation(y, f) : y;
    };
  }

  Step pool() {
    const int64_t kind = draw(4);
    const bool counts = seed_ % 2 == 0;  // padding, as zeros
    return [=](const Variable& x) {
      if (kind == 0) return x;
      return kind == 1 ? ops::max_pool2d(x, 2, 1, 1) : ops::average_pool2d(x, 2, 1, kind - 2, true, counts);
    };
  }

  Activation f_;
  uint64_t seed_, drawn_ = 0;
};

double largest(const Doubles& y) {
  return std::abs(*std::ranges::max_element(y, {}, [](double v) { return std::abs(v); }));
}

/// The largest difference, relative to the largest of `a`.
double difference(const Doubles& a, const Doubles& b) {
  double max_difference = 0;
  for (size_t i = 0; i < a.size(); ++i) max_difference = std::max(max_difference, std::abs(a[i] - b[i]));
  return max_difference / largest(a);
}

/// Of every activation, with and without bias, norm and padding: what channels that go say to every image is
/// what is folded, so that the network says the same before and after; and the pruner can prove it.
TEST(Fold, WhateverTheActivationTheCutNetworkSaysWhatTheMaskedOneDoes) {
  const Shape input{9, 9, 3};
  for (const char* name : ops::activation_names) {
    double unfolded = 0;  // what would be missing without folding, at most
    int told_apart = 0;   // networks that say something of two images
    for (uint64_t seed = 0; seed < 30; ++seed) {
      SCOPED_TRACE(join(name, " ", seed));
      const Activation f = ops::activation_named(name);
      RandomNet net(f, seed), without(f, seed), pruned(f, seed);
      take_statistics(net, input);
      const Network network(net, input);
      const ChannelGraph graph = channel_graph(net, network.graph);
      const auto folds = groups_that_fold(net, network.graph, graph);
      ChannelVerdicts kept;
      for (const ChannelGroup& group : graph.groups) {
        kept.emplace_back(static_cast<size_t>(group.channels), uint8_t{1});
        for (size_t c = 1; c < kept.back().size() && group.fixed.empty(); ++c)
          kept.back()[c] = random_below(seed, 1000 * kept.size() + c, 2) != 0;
      }
      zero_channels(graph.groups, kept, folds);
      take_statistics(net, input);
      const Doubles masked = outputs(net, input);
      const size_t row = masked.size() / 4;
      told_apart += difference({masked.begin(), masked.begin() + row},
                               {masked.begin() + row, masked.begin() + 2 * row}) > 1e-3;
      const auto learned = without.parameters();
      for (size_t i = 0; i < learned.size(); ++i) learned[i]->value() = net.parameters()[i]->value().clone();
      fold_and_cut(net, input, kept);
      cut(without, cuts_of(channel_graph(without, Network(without, input).graph).groups, kept));
      EXPECT_LE(difference(masked, outputs(net, input)), 1e-4);
      unfolded = std::max(unfolded, difference(masked, outputs(without, input)));

      PruneOptions options = cut_channels({Target::ratio, 0.4});
      options.verify = random_tensor({8, 9, 9, 3}, seed);
      options.selection.limits.min_channels = 1;
      const CutProof proof = prune(pruned, input, options).proof.value();
      EXPECT_LE(proof.share(), 1e-3);
    }
    EXPECT_GE(told_apart, 20) << name;
    EXPECT_GT(unfolded, 0.05) << name << ": the constants matter";
  }
}

}  // namespace
}  // namespace espalier
