#include "penalty/two_channels.h"

namespace espalier {
namespace {

TEST(BnScalePenalty, AddsTheSignsOfScalesAlone) {
  SmallNet net;
  Conv2d &a = net.conv("a", 1, 3), &b = net.conv("b", 3, 1);
  BatchNorm2d& n = net.norm("n", 3);
  net.pass = [&](const Variable& x) { return b.forward(a.forward(x, n, Activation::relu)); };
  Parameter& gamma = *net.find("n.weight");
  gamma.value() = Tensor::from({3}, Floats{2, -0.5f, 0});
  const auto penalty = make_penalty(net, {4, 4, 1}, {.type = "bn_scale", .weight = 0.1});
  clear_gradients(net);
  penalty->add_gradients(0);
  expect_near(numbers(gamma.gradient()), {0.1f, -0.1f, 0});
  for (const char* other : {"a.weight", "b.weight", "n.bias"})
    for (const float one : numbers(net.find(other)->gradient())) EXPECT_EQ(one, 0) << other;
}

TEST(BnScalePenalty, AddsASignWhateverElseGoesWithTheChannel) {
  SmallNet net;
  Conv2d &a = net.conv("a", 1, 2), &b = net.conv("b", 1, 2), &c = net.conv("c", 2, 1);
  BatchNorm2d &an = net.norm("an", 2), &bn = net.norm("bn", 2);
  net.pass = [&](const Variable& x) {
    return c.forward(ops::add(a.forward(x, an, Activation::none), b.forward(x, bn, Activation::none)));
  };
  net.find("an.weight")->value() = Tensor::from({2}, Floats{3, -1});
  net.find("bn.weight")->value() = Tensor::from({2}, Floats{-4, 0.5f});
  const auto penalty = make_penalty(net, {4, 4, 1}, {.type = "bn_scale", .weight = 0.1});
  clear_gradients(net);
  penalty->add_gradients(0);
  expect_near(numbers(net.find("an.weight")->gradient()), {0.1f, -0.1f});
  expect_near(numbers(net.find("bn.weight")->gradient()), {-0.1f, 0.1f});
}

TEST(BnScalePenalty, WithoutScalesIsRefused) {
  EXPECT_EQ(message_of<Error>([] { TwoChannels().penalty({.type = "bn_scale"}); }),
            "regularize: bn_scale finds no scale of a batch norm in the channels that may go");
}

}  // namespace
}  // namespace espalier
