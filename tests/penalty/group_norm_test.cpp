#include "penalty/two_channels.h"

namespace espalier {
namespace {

TEST(GroupNormPenalty, PullsTheWeakestSixteenTimesAsHard) {
  TwoChannels two;
  const auto penalty = two.penalty({.type = "group_norm", .weight = 0.1});
  expect_near(two.added(*penalty), {0.3f, -1.6f, -0.4f, 0});
  two.w1.value() = Tensor::from({2, 1}, Floats{3, 3});
  two.w2.value() = Tensor::from({1, 2}, Floats{4, 4});  // all alike: no 0/0
  expect_near(two.added(*penalty), {0.3f, 0.3f, 0.4f, 0.4f});
}

/// Layers a, with a norm, and b side by side, which each reads channel by channel: four members have a's
/// channel, three b's, and all their sums of squares are 1.
TEST(GroupNormPenalty, IsTheMeanOfTheMembersThatHaveTheChannel) {
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
  }
  clear_gradients(net);
  net.find("fc.weight")->value() = Tensor::from({1, 2}, Floats{1, 1});
  make_penalty(net, {4, 4, 1}, {.type = "group_norm", .weight = 0.1})->add_gradients(0);
  expect_near(numbers(net.find("fc.weight")->gradient()), {0.1f, 0.1f});
}

}  // namespace
}  // namespace espalier
