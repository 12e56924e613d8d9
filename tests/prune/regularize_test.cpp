#include "espalier/prune/regularize.h"

#include <gtest/gtest.h>

#include "espalier/channels/surgery.h"
#include "prune/hand_made.h"
#include "prune/small_net.h"

namespace espalier {
namespace {

/// Two channels that fc1 [2,1] makes and fc2 [1,2] reads: the first of norm 5 over both, the second of 1.
struct TwoChannels {
  SmallNet net;
  Linear &fc1 = net.linear("fc1", 1, 2), &fc2 = net.linear("fc2", 2, 1);
  ChosenChannels chosen;
  Parameter &w1 = *net.find("fc1.weight"), &w2 = *net.find("fc2.weight"), &bias = *net.find("fc1.bias");

  TwoChannels() {
    net.pass = [this](const Variable& x) { return fc2.forward(relu(fc1.forward(ops::flatten(x)))); };
    w1.value() = Tensor::from({2, 1}, Floats{3, -1});
    w2.value() = Tensor::from({1, 2}, Floats{-4, 0});
    bias.value() = Tensor::from({2}, Floats{7, 7});
  }

  Regularizer regularizer(RegularizeOptions options) { return {net, {1, 1, 1}, std::move(options)}; }
  /// What the penalty adds to gradients of 0: fc1's two numbers, then fc2's.
  Floats added(Regularizer& regularizer, int64_t step = 0) {
    for (Parameter* parameter : net.parameters()) parameter->gradient() = Tensor::zeros(parameter->shape());
    regularizer.add_gradients(step, chosen);
    EXPECT_EQ(numbers(bias.gradient()), (Floats{0, 0}));
    Floats all = numbers(w1.gradient());
    for (const float one : numbers(w2.gradient())) all.push_back(one);
    return all;
  }
};

void expect_near(const Floats& found, const Floats& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-6) << i;
}

TEST(Regularize, GroupNormPullsTheWeakestSixteenTimesAsHard) {
  TwoChannels two;
  Regularizer regularizer = two.regularizer({.penalty = Penalty::group_norm, .weight = 0.1});
  expect_near(two.added(regularizer), {0.3f, -1.6f, -0.4f, 0});
  two.w1.value() = Tensor::from({2, 1}, Floats{3, 3});
  two.w2.value() = Tensor::from({1, 2}, Floats{4, 4});  // all alike: no 0/0
  expect_near(two.added(regularizer), {0.3f, 0.3f, 0.4f, 0.4f});
}

/// Layers a, with a norm, and b side by side, which each reads channel by channel: four members have a's
/// channel, three b's, and all their sums of squares are 1.
TEST(Regularize, GroupNormIsTheMeanOfTheMembersThatHaveTheChannel) {
  SmallNet net;
  Conv2d &a = net.conv("a", 1, 1), &b = net.conv("b", 1, 1), &each = net.conv("each", 2, 2, 2);
  BatchNorm2d& an = net.norm("an", 1);
  Linear& fc = net.linear("fc", 2, 1);
  net.pass = [&](const Variable& x) {
    const Variable both = ops::concat({a.forward(x, an, Activation::relu), b.forward(x)});
    return fc.forward(ops::global_average_pool(each.forward(both)));
  };
  for (Parameter* parameter : net.parameters()) {
    const Shape& shape = parameter->shape();
    if (parameter->role == Role::weight && shape.axes() == 4) {
      Floats taps(static_cast<size_t>(shape.elements()));
      for (size_t i = 0; i < taps.size(); i += 9) taps[i] = 1;
      parameter->value() = Tensor::from(shape, taps);
    }
    if (parameter->learned()) parameter->gradient() = Tensor::zeros(shape);
  }
  net.find("fc.weight")->value() = Tensor::from({1, 2}, Floats{1, 1});
  Regularizer regularizer(net, {4, 4, 1}, {.penalty = Penalty::group_norm, .weight = 0.1});
  ChosenChannels chosen;
  regularizer.add_gradients(0, chosen);
  expect_near(numbers(net.find("fc.weight")->gradient()), {0.1f, 0.1f});
}

TEST(Regularize, GroupLassoPullsByTheInverseNorm) {
  TwoChannels two;
  Regularizer regularizer = two.regularizer({.penalty = Penalty::group_lasso, .weight = 0.1});
  expect_near(two.added(regularizer), {0.06f, -0.1f, -0.08f, 0});
}

TEST(Regularize, L1AddsSigns) {
  TwoChannels two;
  Regularizer regularizer = two.regularizer({.penalty = Penalty::l1, .weight = 0.1});
  expect_near(two.added(regularizer), {0.1f, -0.1f, -0.1f, 0});
}

TEST(Regularize, Greg1PushesOutWhatItChose) {
  TwoChannels two;
  Regularizer regularizer =
      two.regularizer({.penalty = Penalty::greg1, .ratio = 0.5, .growth = 0.1, .most = 0.25, .every = 2});
  expect_near(two.added(regularizer, 0), {0, 0, 0, 0});
  EXPECT_EQ(two.chosen, (ChosenChannels{{"fc1", {1}}}));
  expect_near(two.added(regularizer, 2), {0, -0.1f, 0, 0});
  two.w1.value() = Tensor::from({2, 1}, Floats{0.1f, 100});  // chosen is chosen
  expect_near(two.added(regularizer, 5), {0, 20, 0, 0});
  expect_near(two.added(regularizer, 1000), {0, 25, 0, 0});

  Regularizer resumed =
      two.regularizer({.penalty = Penalty::greg1, .ratio = 0.5, .growth = 0.1, .most = 0.25, .every = 2});
  EXPECT_EQ(two.added(resumed, 5), two.added(regularizer, 5));
}

TEST(Regularize, Greg2PullsAtAllFirst) {
  TwoChannels two;
  Regularizer regularizer =
      two.regularizer({.penalty = Penalty::greg2, .ratio = 0.5, .growth = 0.1, .most = 2, .every = 2});
  expect_near(two.added(regularizer, 2), {0.03f, -0.01f, -0.04f, 0});
  EXPECT_TRUE(two.chosen.empty());
  expect_near(two.added(regularizer, 4), {0, -0.02f, 0, 0});
  expect_near(two.added(regularizer, 6), {0, -0.12f, 0, 0});
}

TEST(Regularize, BnScaleAddsTheSignsOfScalesAlone) {
  SmallNet net;
  Conv2d &a = net.conv("a", 1, 3), &b = net.conv("b", 3, 1);
  BatchNorm2d& n = net.norm("n", 3);
  net.pass = [&](const Variable& x) { return b.forward(a.forward(x, n, Activation::relu)); };
  Parameter& gamma = *net.find("n.weight");
  gamma.value() = Tensor::from({3}, Floats{2, -0.5f, 0});
  Regularizer regularizer(net, {4, 4, 1}, {.penalty = Penalty::bn_scale, .weight = 0.1});
  for (Parameter* parameter : net.parameters())
    if (parameter->learned()) parameter->gradient() = Tensor::zeros(parameter->shape());
  ChosenChannels chosen;
  regularizer.add_gradients(0, chosen);
  expect_near(numbers(gamma.gradient()), {0.1f, -0.1f, 0});
  for (const char* other : {"a.weight", "b.weight", "n.bias"})
    for (const float one : numbers(net.find(other)->gradient())) EXPECT_EQ(one, 0) << other;
}

TEST(Regularize, BnScaleAddsASignWhateverElseGoesWithTheChannel) {
  SmallNet net;
  Conv2d &a = net.conv("a", 1, 2), &b = net.conv("b", 1, 2), &c = net.conv("c", 2, 1);
  BatchNorm2d &an = net.norm("an", 2), &bn = net.norm("bn", 2);
  net.pass = [&](const Variable& x) {
    return c.forward(ops::add(a.forward(x, an, Activation::none), b.forward(x, bn, Activation::none)));
  };
  net.find("an.weight")->value() = Tensor::from({2}, Floats{3, -1});
  net.find("bn.weight")->value() = Tensor::from({2}, Floats{-4, 0.5f});
  Regularizer regularizer(net, {4, 4, 1}, {.penalty = Penalty::bn_scale, .weight = 0.1});
  for (Parameter* parameter : net.parameters())
    if (parameter->learned()) parameter->gradient() = Tensor::zeros(parameter->shape());
  ChosenChannels chosen;
  regularizer.add_gradients(0, chosen);
  expect_near(numbers(net.find("an.weight")->gradient()), {0.1f, -0.1f});
  expect_near(numbers(net.find("bn.weight")->gradient()), {-0.1f, 0.1f});
}

TEST(Regularize, BnScaleWithoutScalesIsRefused) {
  TwoChannels two;
  EXPECT_EQ(message_of<Error>([&] { two.regularizer({.penalty = Penalty::bn_scale}); }),
            "regularize: bn_scale finds no scale of a batch norm in the channels that may go");
}

TEST(Regularize, RefusesChosenChannelsThatAreNot) {
  TwoChannels two;
  two.chosen = {{"fc1", {2}}};
  Regularizer regularizer = two.regularizer({.penalty = Penalty::greg1});
  EXPECT_EQ(message_of<Error>([&] { two.added(regularizer, 5); }),
            "regularize: channel 2 of fc1 was chosen, which has 2");
}

TEST(Regularize, WhatIsExcludedOrCutIsNotPulled) {
  TwoChannels two;
  EXPECT_EQ(message_of<Error>([&] { two.regularizer({.exclude = {"fc3"}}); }),
            "regularize: exclude 'fc3' names no convolution or linear layer, known: fc1, fc2, did you "
            "mean 'fc1'?");
  Regularizer regularizer = two.regularizer({.penalty = Penalty::group_norm, .weight = 0.1});
  cut(two.net, {{"fc1.weight", 0, 2, {0}}, {"fc1.bias", 0, 2, {0}}, {"fc2.weight", 1, 2, {0}}});
  for (Parameter* parameter : two.net.parameters()) parameter->gradient() = Tensor::zeros(parameter->shape());
  regularizer.add_gradients(1, two.chosen);
  expect_near(numbers(two.w1.gradient()), {0.3f});
}

}  // namespace
}  // namespace espalier
