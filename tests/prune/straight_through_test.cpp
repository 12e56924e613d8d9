#include "espalier/prune/straight_through.h"

#include <gtest/gtest.h>

#include <limits>

#include "prune/hand_made.h"

namespace espalier {
namespace {

using Floats = std::vector<float>;
using Flags = std::vector<int>;

struct OneLayer {
  explicit OneLayer(const Floats& values, const Flags& kept = {})
      : fc(model.add("fc.weight", {1, static_cast<int64_t>(values.size())}, values)) {
    start_unmasked({&fc});
    if (!kept.empty()) fc.set_mask(Tensor::from(fc.shape(), std::vector<uint8_t>(kept.begin(), kept.end())));
  }
  Floats unmasked() const { return numbers(fc.state_of(unmasked_value)); }
  void set_unmasked(const Floats& values) { fc.state[unmasked_value] = Tensor::from(fc.shape(), values); }

  HandMade model;
  Parameter& fc;
};

TEST(StraightThrough, TheValueIsWhatTheMaskLeaves) {
  OneLayer one({1, -2, 3, -4}, {0, 1, 0, 1});
  EXPECT_EQ(one.unmasked(), (Floats{1, -2, 3, -4})) << "a mask that comes later leaves it";
  EXPECT_EQ(numbers(one.fc.value()), (Floats{0, -2, 0, -4}));
  one.set_unmasked({5, 6, 7, 8});
  follow_unmasked({&one.fc});
  EXPECT_EQ(numbers(one.fc.value()), (Floats{0, 6, 0, 8}));
  EXPECT_EQ(one.unmasked(), (Floats{5, 6, 7, 8}));
}

TEST(StraightThrough, ALayerWithoutAMaskUsesAll) {
  OneLayer one({1, 2});
  one.set_unmasked({3, 4});
  EXPECT_TRUE(choose_masks({&one.fc}, {}).layers.empty());
  EXPECT_EQ(numbers(one.fc.value()), (Floats{3, 4}));
  EXPECT_FALSE(one.fc.mask.defined());
}

TEST(StraightThrough, ChoosesAsManyOfTheLargestAsTheMaskKeeps) {
  OneLayer one({1, 2, 3, 4}, {0, 0, 1, 1});
  one.fc.state["slot0"] = Tensor::full({1, 4}, 5);
  one.fc.state["average"] = Tensor::full({1, 4}, 6);
  one.set_unmasked({-9, 2, 2, 1});
  const Regrown moved = choose_masks({&one.fc}, {});
  EXPECT_EQ(flags(one.fc.mask), (Flags{1, 1, 0, 0})) << "of equals the first";
  EXPECT_EQ(numbers(one.fc.value()), (Floats{-9, 2, 0, 0}));
  EXPECT_EQ(one.unmasked(), (Floats{-9, 2, 2, 1}));
  EXPECT_EQ(numbers(one.fc.state_of("slot0")), (Floats{5, 5, 5, 5})) << "all train";
  EXPECT_EQ(numbers(one.fc.state_of("average")), (Floats{6, 6, 0, 0}));
  ASSERT_EQ(moved.layers.size(), 1u);
  EXPECT_EQ(moved.layers[0].active, 2);
  EXPECT_EQ(moved.layers[0].dropped, 2);
  EXPECT_EQ(moved.layers[0].grown, 2);
}

TEST(StraightThrough, WeightsThatAreMissingOrNotFiniteAreNamed) {
  OneLayer one({1, 2}, {0, 1});
  check_unmasked({&one.fc});
  one.set_unmasked({std::numeric_limits<float>::quiet_NaN(), 1});
  EXPECT_EQ(message_of<Error>([&] { choose_masks({&one.fc}, {}); }),
            "regrow: fc.weight: weight 0 is nan, expected a finite number");
  drop_unmasked({&one.fc});
  EXPECT_EQ(message_of<Error>([&] { check_unmasked({&one.fc}); }),
            "holds no unmasked_value of fc.weight, by which this stage trains");
}

TEST(TopKast, TwoOfEightAreInUseAndFourTrain) {
  OneLayer one({8, -7, 6, -5, 4, -3, 2, -1}, {1, 1, 0, 0, 0, 0, 0, 0});
  one.fc.state["slot0"] = Tensor::full({1, 8}, 5);
  start_reach({&one.fc});
  choose_masks({&one.fc}, Explored{.backward_sparsity = 0.5, .weight_decay = 0});
  EXPECT_EQ(flags(one.fc.mask), (Flags{1, 1, 0, 0, 0, 0, 0, 0}));
  // A quarter is in use: what only trains is pulled four times as hard.
  EXPECT_EQ(numbers(one.fc.state_of("unmasked_reach")), (Floats{1, 1, 4, 4, 0, 0, 0, 0}));
  EXPECT_EQ(numbers(one.fc.state_of("slot0")), (Floats{5, 5, 5, 5, 0, 0, 0, 0}))
      << "what does not train must not go on by its momentum";
  one.fc.gradient() = Tensor::full({1, 8}, 3);
  keep_reached_gradients({&one.fc});
  EXPECT_EQ(numbers(one.fc.gradient()), (Floats{3, 3, 3, 3, 0, 0, 0, 0}));
  decay_reached({&one.fc}, 0.125);
  EXPECT_EQ(one.unmasked(), (Floats{7, -6.125f, 3, -2.5f, 4, -3, 2, -1}));
}

TEST(TopKast, WhatIsInUseTrainsWhateverTheBackwardSparsity) {
  OneLayer one({4, 3, 2, 1}, {1, 1, 1, 0});
  start_reach({&one.fc});
  choose_masks({&one.fc}, Explored{.backward_sparsity = 0.5, .weight_decay = 0});
  EXPECT_EQ(numbers(one.fc.state_of("unmasked_reach")), (Floats{1, 1, 1, 0}));
}

TEST(TopKast, BeforeItChoosesAllAreReached) {
  OneLayer one({4, 3});
  start_reach({&one.fc});
  EXPECT_EQ(numbers(one.fc.state_of("unmasked_reach")), (Floats{1, 1}));
  choose_masks({&one.fc}, Explored{.backward_sparsity = 0.5, .weight_decay = 0});
  EXPECT_EQ(numbers(one.fc.state_of("unmasked_reach")), (Floats{1, 1})) << "there is no mask";
}

TEST(TopKast, AWeightThatGrowsLargeComesIntoUse) {
  OneLayer one({4, 3, 2, 1}, {1, 0, 0, 0});
  start_reach({&one.fc});
  const Explored half{.backward_sparsity = 0.5, .weight_decay = 0};
  choose_masks({&one.fc}, half);
  one.set_unmasked({4, -5, 2, 1});
  choose_masks({&one.fc}, half);
  EXPECT_EQ(numbers(one.fc.value()), (Floats{0, -5, 0, 0}));
  EXPECT_EQ(numbers(one.fc.state_of("unmasked_reach")), (Floats{4, 1, 0, 0}));
}

}  // namespace
}  // namespace espalier
