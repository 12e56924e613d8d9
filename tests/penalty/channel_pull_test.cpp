#include "espalier/penalty/channel_pull.h"

#include "espalier/channels/surgery.h"
#include "penalty/two_channels.h"

namespace espalier {
namespace {

TEST(ChannelPull, WhatIsExcludedOrCutIsNotPulled) {
  TwoChannels two;
  EXPECT_EQ(message_of<Error>([&] { two.penalty({.exclude = {"fc3"}}); }),
            "regularize: exclude 'fc3' names no convolution or linear layer, known: fc1, fc2, did you "
            "mean 'fc1'?");
  const auto penalty = two.penalty({.type = "group_norm", .weight = 0.1});
  cut(two.net, {{"fc1.weight", 0, 2, {0}}, {"fc1.bias", 0, 2, {0}}, {"fc2.weight", 1, 2, {0}}});
  clear_gradients(two.net);
  penalty->add_gradients(1);
  expect_near(numbers(two.w1.gradient()), {0.3f});
}

}  // namespace
}  // namespace espalier
