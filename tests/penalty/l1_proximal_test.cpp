#include "penalty/two_channels.h"

namespace espalier {
namespace {

const Penalty::RateOf a_tenth = [](const Parameter&) { return 0.1; };

/// fc1's two weights, which are 3 and -1, then fc2's, -4 and 0.
Floats moved(TwoChannels& of, double weight, const Penalty::RateOf& rate = a_tenth) {
  const auto penalty = of.penalty({.type = "l1_proximal", .weight = weight});
  clear_gradients(of.net);
  penalty->add_gradients(0);
  penalty->after_update(rate);
  EXPECT_EQ(numbers(of.w1.gradient()), (Floats{0, 0})) << "it adds nothing to gradients";
  EXPECT_EQ(numbers(of.bias.value()), (Floats{7, 7}));
  Floats all = numbers(of.w1.value());
  for (const float one : numbers(of.w2.value())) all.push_back(one);
  return all;
}

TEST(L1ProximalPenalty, MovesWeightsTowardsZeroByTheRateTimesItsFactor) {
  TwoChannels of;
  expect_near(moved(of, 5), {2.5f, -0.5f, -3.5f, 0});
}

TEST(L1ProximalPenalty, AWeightThatIsSmallerBecomesZeroAndStaysThere) {
  TwoChannels of;
  EXPECT_EQ(moved(of, 20), (Floats{1, 0, -2, 0}));
  EXPECT_EQ(moved(of, 20), (Floats{0, 0, 0, 0}));
}

TEST(L1ProximalPenalty, GoesByEachParametersRate) {
  TwoChannels of;
  expect_near(moved(of, 5, [&](const Parameter& parameter) { return &parameter == &of.w1 ? 0.0 : 0.2; }),
              {3, -1, -3, 0});
}

TEST(L1ProximalPenalty, MovesWhatTheStepMovedUnderAStraightThroughMask) {
  TwoChannels of;
  of.w1.state[unmasked_value] = Tensor::from({2, 1}, Floats{3, -1});
  EXPECT_EQ(moved(of, 20), (Floats{3, -1, -2, 0}));
  EXPECT_EQ(numbers(of.w1.state_of(unmasked_value)), (Floats{1, 0}));
}

}  // namespace
}  // namespace espalier
