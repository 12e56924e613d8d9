#include "espalier/prune/regrow.h"

#include <gtest/gtest.h>

#include <limits>

#include "prune/hand_made.h"

namespace espalier {
namespace {

using Floats = std::vector<float>;
using Flags = std::vector<int>;

Tensor mask_of(const Shape& shape, const Flags& kept) {
  return Tensor::from(shape, std::vector<uint8_t>(kept.begin(), kept.end()));
}

/// A network whose masks are written down.
struct Masked {
  HandMade model;
  std::vector<RegrowLayer> layers;

  /// A layer of one row.
  Parameter& add(const std::string& name, const Floats& values, const Flags& kept,
                 const Floats& gradient = {}, const Floats& average = {}) {
    const Shape shape{1, static_cast<int64_t>(values.size())};
    Parameter& p = model.add(name + ".weight", shape, values);
    p.set_mask(mask_of(shape, kept));
    if (!average.empty()) p.state["unmasked_gradient"] = Tensor::from(shape, average);
    layers.push_back({&p, gradient.empty() ? Tensor() : Tensor::from(shape, gradient)});
    return p;
  }
  Regrown move(const std::string& method, double share, uint64_t key = 1) {
    return regrow(layers, regrowths().named(method), share, key);
  }
};

int64_t kept(const Parameter& p) { return std::ranges::count(p.mask.span<uint8_t>(), 1); }

// --- Rigl ---

TEST(Regrow, RiglDropsTheSmallestAndGrowsByTheLargestGradient) {
  Masked net;
  const Parameter& fc = net.add("fc", {4, -1, 3, 0, 0, 0}, {1, 1, 1, 0, 0, 0}, {9, 5, 1, -6, 2, 7});
  const Regrown moved = net.move("rigl", 1.0 / 3);
  EXPECT_EQ(flags(fc.mask), (Flags{1, 0, 1, 0, 0, 1}));
  EXPECT_EQ(numbers(fc.value()), (Floats{4, 0, 3, 0, 0, 0}));
  ASSERT_EQ(moved.layers.size(), 1u);
  EXPECT_EQ(moved.layers[0].name, "fc");
  EXPECT_EQ(moved.layers[0].weights, 6);
  EXPECT_EQ(moved.layers[0].active, 3);
  EXPECT_EQ(moved.layers[0].dropped, 1);
  EXPECT_EQ(moved.layers[0].grown, 1);
}

TEST(Regrow, WhatHasJustDroppedMayGrowAndBeginsAtZeroToo) {
  Masked net;
  Parameter& fc = net.add("fc", {4, -1, 3, 0, 0, 0}, {1, 1, 1, 0, 0, 0}, {9, 8, 1, -6, 2, 7});
  fc.state["slot0"] = Tensor::full({1, 6}, 5);
  fc.state["average"] = Tensor::full({1, 6}, 6);
  fc.set_mask(fc.mask);
  net.move("rigl", 1.0 / 3);
  EXPECT_EQ(flags(fc.mask), (Flags{1, 1, 1, 0, 0, 0}));
  EXPECT_EQ(numbers(fc.value()), (Floats{4, 0, 3, 0, 0, 0}));
  EXPECT_EQ(numbers(fc.state_of("slot0")), (Floats{5, 0, 5, 0, 0, 0}));
  EXPECT_EQ(numbers(fc.state_of("average")), (Floats{6, 0, 6, 0, 0, 0}));
}

TEST(Regrow, WhatGrowsHasNoStateAndWhatIsKeptHasItsOwn) {
  Masked net;
  Parameter& fc = net.add("fc", {1, 2, 0, 0}, {1, 1, 0, 0}, {0, 0, 1, 2}, {7, 7, 7, 7});
  fc.state["slot0"] = Tensor::full({1, 4}, 5);
  fc.state["slot1"] = Tensor::full({1, 4}, 5);
  fc.set_mask(fc.mask);
  net.move("rigl", 0.5);
  EXPECT_EQ(flags(fc.mask), (Flags{0, 1, 0, 1}));
  for (const char* slot : {"slot0", "slot1"})
    EXPECT_EQ(numbers(fc.state_of(slot)), (Floats{0, 5, 0, 0})) << slot;
  EXPECT_EQ(numbers(fc.state_of("unmasked_gradient")), (Floats{7, 7, 7, 7})) << "is of all weights";
}

TEST(Regrow, OfEqualsTheFirstDropsAndTheFirstGrows) {
  Masked net;
  const Parameter& fc = net.add("fc", {2, -2, 2, 9, 0, 0, 0}, {1, 1, 1, 1, 0, 0, 0}, {0, 0, 0, 0, -3, 3, 3});
  net.move("rigl", 0.5);
  EXPECT_EQ(flags(fc.mask), (Flags{0, 0, 1, 1, 1, 1, 0}));
}

TEST(Regrow, NothingDropsOfAShareOfZeroAndNothingChanges) {
  for (const std::string method : {"set", "rigl", "sparse_momentum"}) {
    Masked net;
    const Parameter& fc = net.add("fc", {1, 2, 0, 0}, {1, 1, 0, 0}, {0, 0, 1, 2}, {0, 0, 1, 2});
    const Regrown moved = net.move(method, 0);
    EXPECT_EQ(flags(fc.mask), (Flags{1, 1, 0, 0})) << method;
    EXPECT_EQ(numbers(fc.value()), (Floats{1, 2, 0, 0})) << method;
    EXPECT_EQ(moved.total().grown, 0) << method;
  }
}

TEST(Regrow, EachLayerGetsBackWhatItDropped) {
  Masked net;
  const Parameter& a = net.add("a", {1, 2, 3, 4, 0, 0}, {1, 1, 1, 1, 0, 0}, {0, 0, 0, 0, 1, 1});
  const Parameter& b = net.add("b", {5, 6, 0, 0}, {1, 1, 0, 0}, {0, 0, 100, 100});
  const Regrown moved = net.move("rigl", 0.5);
  EXPECT_EQ(flags(a.mask), (Flags{0, 0, 1, 1, 1, 1}));
  EXPECT_EQ(flags(b.mask), (Flags{0, 1, 1, 0}));
  EXPECT_EQ(moved.total().dropped, 3);
  EXPECT_EQ(moved.total().active, 6);
  EXPECT_EQ(moved.total().weights, 10);
}

// --- Set ---

TEST(Regrow, SetGrowsAtRandomByItsKey) {
  const auto mask_by = [](uint64_t key) {
    Masked net;
    const Parameter& fc =
        net.add("fc", {1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0}, {1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0});
    net.move("set", 0.5, key);
    EXPECT_EQ(kept(fc), 4);
    EXPECT_EQ(fc.mask.data<uint8_t>()[2] + fc.mask.data<uint8_t>()[3], 2) << "the largest stay";
    return flags(fc.mask);
  };
  EXPECT_EQ(mask_by(1), mask_by(1));
  EXPECT_NE(mask_by(1), mask_by(2));
}

TEST(Regrow, SetDrawsEachMaskedWeightAsOften) {
  std::vector<int> grew(4);
  for (uint64_t key = 0; key < 4000; ++key) {
    Masked net;
    const Parameter& fc = net.add("fc", {1, 2, 0, 0}, {1, 1, 0, 0});
    net.move("set", 0.5, key);
    for (size_t i = 0; i < 4; ++i) grew[i] += flags(fc.mask)[i];
  }
  EXPECT_EQ(grew[1], 4000) << "is kept";
  for (const size_t i : {0, 2, 3}) EXPECT_NEAR(grew[i], 4000 / 3, 100) << i;
}

TEST(Regrow, LayersOfTheSameShapeDrawOtherNumbers) {
  Masked net;
  Floats values(64);
  Flags active(64);
  std::fill_n(values.begin(), 16, 1.0f);
  std::fill_n(active.begin(), 16, 1);
  const Parameter &a = net.add("a", values, active), &b = net.add("b", values, active);
  net.move("set", 1.0);
  EXPECT_NE(flags(a.mask), flags(b.mask));
}

// --- Sparse momentum ---

TEST(Regrow, SparseMomentumGrowsWhereGradientsOfActiveWeightsAreLarge) {
  Masked net;
  // Means of |average| of active weights: 3 and 1. Of each four ceil(0.5 * 4) = 2 drop, four in all: 3 and 1
  // grow.
  const Parameter& a = net.add("a", {1, 2, 3, 4, 0, 0, 0, 0}, {1, 1, 1, 1, 0, 0, 0, 0}, {},
                               {2, -4, 3, 3, 0.1f, 0.2f, -0.3f, 0.4f});
  const Parameter& b =
      net.add("b", {1, 2, 3, 4, 0, 0, 0, 0}, {1, 1, 1, 1, 0, 0, 0, 0}, {}, {1, -1, 1, 1, 90, -99, 90, 90});
  const Regrown moved = net.move("sparse_momentum", 0.5);
  // a: weights 0 and 1 drop; of |average| 2 4 0.1 0.2 0.3 0.4 at 0 1 4 5 6 7 the largest are 4, 2 and 0.4.
  EXPECT_EQ(flags(a.mask), (Flags{1, 1, 1, 1, 0, 0, 0, 1}));
  EXPECT_EQ(numbers(a.value()), (Floats{0, 0, 3, 4, 0, 0, 0, 0}));
  EXPECT_EQ(flags(b.mask), (Flags{0, 0, 1, 1, 0, 1, 0, 0}));
  EXPECT_EQ(moved.layers[0].dropped, 2);
  EXPECT_EQ(moved.layers[0].grown, 3);
  EXPECT_EQ(moved.layers[0].active, 5);
  EXPECT_EQ(moved.layers[1].active, 3);
  EXPECT_EQ(kept(a) + kept(b), 8) << "as many as before";
}

TEST(Regrow, SparseMomentumRoundsUpAndLeavesALayerOne) {
  Masked net;
  const Parameter& a = net.add("a", {1, 2, 3, 0}, {1, 1, 1, 0}, {}, {1, 1, 1, 1});
  const Parameter& b = net.add("b", {5, 0, 0, 0}, {1, 0, 0, 0}, {}, {0, 9, 9, 9});
  const Regrown moved = net.move("sparse_momentum", 0.4);
  EXPECT_EQ(moved.layers[0].dropped, 2) << "ceil(1.2)";
  EXPECT_EQ(moved.layers[1].dropped, 0);
  EXPECT_EQ(numbers(b.value())[0], 5);
  EXPECT_EQ(kept(a) + kept(b), 4);
}

TEST(Regrow, SparseMomentumSparesALayerThatIsAboutToBeFull) {
  const auto dropped_of_full = [](float average_of_full) {
    Masked net;
    net.add("full", {1, 2, 3, 4, 5, 6, 7, 8, 9, 0}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 0}, {},
            Floats(10, average_of_full));
    net.add("half", {1, 2, 3, 4, 5, 0, 0, 0, 0, 0}, {1, 1, 1, 1, 1, 0, 0, 0, 0, 0}, {}, Floats(10, 1.0f));
    const Regrown moved = net.move("sparse_momentum", 0.5);
    EXPECT_EQ(moved.layers[1].dropped, 3) << "ceil(2.5)";
    EXPECT_EQ(moved.total().active, 14);
    return moved.layers[0].dropped;
  };
  EXPECT_EQ(dropped_of_full(2.0f), 1) << "ceil(0.1 * 9), its sparsity's share";
  EXPECT_EQ(dropped_of_full(0.5f), 5) << "ceil(0.5 * 9): it does not grow";
}

TEST(Regrow, WithoutAnyGradientEachLayerGetsBackWhatItDropped) {
  Masked net;
  net.add("a", {1, 2, 3, 4, 0, 0, 0, 0}, {1, 1, 1, 1, 0, 0, 0, 0}, {}, Floats(8));
  net.add("b", {1, 2, 0, 0}, {1, 1, 0, 0}, {}, Floats(4));
  const Regrown moved = net.move("sparse_momentum", 0.5);
  for (const Regrown::Layer& layer : moved.layers) EXPECT_EQ(layer.grown, layer.dropped) << layer.name;
}

TEST(Distribute, SharesOfATotalAreExact) {
  using Parts = std::vector<int64_t>;
  const auto parts = [](int64_t total, const std::vector<double>& shares, const Parts& room) {
    return distribute(total, shares, Parts(shares.size(), 1), room);
  };
  EXPECT_EQ(parts(4, {3, 1}, {10, 10}), (Parts{3, 1}));
  EXPECT_EQ(parts(3, {1, 1}, {10, 10}), (Parts{2, 1})) << "1.5 each: of equals the first";
  EXPECT_EQ(parts(7, {1, 2, 4}, {10, 10, 10}), (Parts{1, 2, 4}));
  EXPECT_EQ(parts(10, {1, 1, 1}, {10, 10, 10}), (Parts{4, 3, 3}));
  EXPECT_EQ(parts(10, {0.5, 0.3, 0.2}, {99, 99, 99}), (Parts{5, 3, 2}));
  EXPECT_EQ(parts(0, {1, 1}, {0, 0}), (Parts{0, 0}));
}

TEST(Distribute, WhatExceedsALayersRoomIsSpreadEvenly) {
  using Parts = std::vector<int64_t>;
  const auto parts = [](int64_t total, const std::vector<double>& shares, const Parts& room) {
    return distribute(total, shares, Parts(shares.size(), 1), room);
  };
  // Of 5 places 4 are taken at most, of 100 99.
  EXPECT_EQ(parts(10, {8, 1, 1}, {5, 20, 20}), (Parts{4, 3, 3}));
  EXPECT_EQ(parts(110, {1, 0}, {100, 100}), (Parts{99, 11}));
  EXPECT_EQ(parts(10, {6, 3, 1}, {5, 5, 20}), (Parts{4, 4, 2})) << "6 3 1, 4 4 2";
  EXPECT_EQ(parts(9, {6, 3, 0}, {5, 5, 20}), (Parts{4, 4, 1}));
  EXPECT_EQ(parts(4, {1, 1}, {2, 2}), (Parts{2, 2})) << "there is no other room";
  EXPECT_EQ(distribute(3, std::vector<double>{0, 0}, Parts{2, 1}, Parts{9, 9}), (Parts{2, 1}));
  EXPECT_EQ(message_of<Error>([&] {
              parts(5, {1, 1}, {2, 2});
            }),
            "regrow: 5 weights are to grow, and there is no room for as many");
}

TEST(DropCount, IsARoundedShareWhateverItsLastBit) {
  EXPECT_EQ(drop_count(0.3, 10, false), 3);
  EXPECT_EQ(drop_count(0.29, 100, false), 29);  // 28.999999999999996
  EXPECT_EQ(drop_count(0.3, 3, false), 0);
  EXPECT_EQ(drop_count(0.999, 10, false), 9);
  EXPECT_EQ(drop_count(1.0, 10, false), 10);
  EXPECT_EQ(drop_count(0.07, 100, true), 7);  // 7.000000000000001
  EXPECT_EQ(drop_count(0.071, 100, true), 8);
  EXPECT_EQ(drop_count(1.0, 10, true), 9) << "one stays";
  EXPECT_EQ(drop_count(0.5, 1, true), 0);
  EXPECT_EQ(drop_count(0.5, 0, true), 0);
}

TEST(Regrow, ANumberThatIsNotFiniteIsNamedAndNothingMoves) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  const auto refusal = [](const Floats& values, const Floats& gradient) {
    Masked net;
    const Parameter& sound = net.add("a", {1, 2, 0, 0}, {1, 1, 0, 0}, {0, 0, 1, 2});
    net.add("b", values, {1, 1, 0, 0}, gradient);
    const std::string message = message_of<Error>([&] { net.move("rigl", 0.5); });
    EXPECT_EQ(flags(sound.mask), (Flags{1, 1, 0, 0}));
    EXPECT_EQ(numbers(sound.value()), (Floats{1, 2, 0, 0}));
    return message;
  };
  EXPECT_EQ(refusal({1, nan, 0, 0}, {0, 0, 1, 2}),
            "regrow: b.weight: the value of weight 1 is nan, expected a finite number");
  EXPECT_EQ(refusal({1, 2, 0, 0}, {0, 0, 1, inf}),
            "regrow: b.weight: the score of weight 3 is inf, expected a finite number");
}

TEST(Regrow, AMethodOfAProgramsOwnIsARow) {
  // RigL's negative control: those with the smallest gradients grow.
  if (!regrowths().find("inverted"))
    regrowths().add({.name = "inverted",
                     .help = "the smallest gradients",
                     .grow =
                         [](std::span<float> scores, const GrowInputs& inputs) {
                           for (size_t i = 0; i < scores.size(); ++i)
                             scores[i] = -std::abs(inputs.gradient[i]);
                         },
                     .needs = GrowNeeds::gradient});
  Masked net;
  const Parameter& fc = net.add("fc", {4, -1, 3, 0, 0, 0}, {1, 1, 1, 0, 0, 0}, {9, 5, 1, -6, 2, 7});
  net.move("inverted", 1.0 / 3);
  EXPECT_EQ(flags(fc.mask), (Flags{1, 0, 1, 0, 1, 0}));
}

TEST(LearningWeights, AreThoseOfConvolutionsAndLinearLayersThatLearn) {
  HandMade model;
  Parameter& a = model.add("a.weight", {1, 2}, {1, 2});
  Parameter& frozen = model.add("b.weight", {1, 2}, {1, 2});
  model.add("a.bias", {1}, {1}, Role::bias);
  frozen.variable.set_requires_gradient(false);
  EXPECT_EQ(learning_weights(model), (std::vector<Parameter*>{&a}));
}

// --- When, and how much ---

TEST(RegrowSchedule, CountsFromWhereItBegins) {
  const RegrowSchedule cosine{.begin = 100, .end = 300, .every = 50, .share = 0.3};
  EXPECT_EQ(cosine.share_at(100), 0.3);
  EXPECT_NEAR(cosine.share_at(150), 0.15 * (1 + std::sqrt(0.5)), 1e-15);
  EXPECT_NEAR(cosine.share_at(200), 0.15, 1e-15);
  EXPECT_EQ(cosine.share_at(300), 0);
  std::vector<int64_t> steps;
  for (int64_t step = 0; step < 400; ++step)
    if (cosine.acts_at(step)) steps.push_back(step);
  EXPECT_EQ(steps, (std::vector<int64_t>{100, 150, 200, 250, 300}));
}

TEST(RegrowSchedule, ActsOnlyAtItsStepsWhereverItEnds) {
  const RegrowSchedule uneven{.begin = 0, .end = 10, .every = 4};
  std::vector<int64_t> steps;
  for (int64_t step = 0; step < 20; ++step)
    if (uneven.acts_at(step)) steps.push_back(step);
  EXPECT_EQ(steps, (std::vector<int64_t>{0, 4, 8}));
}

TEST(RegrowSchedule, AnnealsAsItIsTold) {
  RegrowSchedule s{.begin = 0, .end = 100, .share = 0.5, .min_share = 0.1};
  const auto at_quarter = [&](const char* anneal) {
    s.anneal = anneal;
    return s.share_at(25);
  };
  EXPECT_EQ(at_quarter("constant"), 0.5);
  EXPECT_NEAR(at_quarter("linear"), 0.1 + 0.4 * 0.75, 1e-15);
  EXPECT_NEAR(at_quarter("cubic"), 0.1 + 0.4 * 0.421875, 1e-15);
  EXPECT_NEAR(at_quarter("cosine"), 0.1 + 0.4 * (2 + std::sqrt(2)) / 4, 1e-15);
  EXPECT_EQ(s.share_at(100), 0.1);
  EXPECT_EQ((RegrowSchedule{.begin = 7, .end = 7, .share = 0.2}).share_at(7), 0.2);
}

TEST(RegrowSchedule, WhatMakesNoSenseIsRefused) {
  const auto refusal = [](const RegrowSchedule& s) { return message_of<UsageError>([&] { check(s); }); };
  check(RegrowSchedule{.begin = 5, .end = 5});
  EXPECT_EQ(refusal({.begin = -1}), "regrow: begins at step -1, expected 0 or later");
  EXPECT_EQ(refusal({.begin = 5, .end = 4}),
            "regrow: ends at step 4, before it begins at step 5; 'end' says when it is to");
  EXPECT_EQ(refusal({.every = 0}), "regrow: acts every 0 steps, expected 1 or more");
  EXPECT_EQ(refusal({.share = 1.5}), "regrow: share is 1.5, expected 0..1");
  EXPECT_EQ(refusal({.share = 0.2, .min_share = 0.3}), "regrow: min_share is 0.3, expected 0 to share: 0.2");
  EXPECT_NE(refusal({.anneal = "cosin"}).find("did you mean 'cosine'?"), std::string::npos);
}

// --- The moving average ---

TEST(GradientAverage, IsOfAllWeightsAndNoMaskHoldsIt) {
  HandMade model;
  Parameter& fc = model.add("fc.weight", {1, 4}, {1, 2, 3, 4});
  fc.set_mask(mask_of({1, 4}, {1, 1, 0, 0}));
  EXPECT_EQ(message_of<Error>([&] { check_gradient_average({&fc}); }),
            "holds no unmasked_gradient of fc.weight, by which this stage's masks move");
  start_gradient_average({&fc});
  check_gradient_average({&fc});
  EXPECT_EQ(numbers(fc.state_of("unmasked_gradient")), (Floats{0, 0, 0, 0}));
  fc.gradient() = Tensor::from<float>({1, 4}, Floats{4, -4, 8, -8});
  update_gradient_average({&fc}, 0.75);
  EXPECT_EQ(numbers(fc.state_of("unmasked_gradient")), (Floats{1, -1, 2, -2}));
  fc.gradient() = Tensor::zeros({1, 4});
  fc.set_mask(mask_of({1, 4}, {0, 1, 1, 0}));
  update_gradient_average({&fc}, 0.75);
  EXPECT_EQ(numbers(fc.state_of("unmasked_gradient")), (Floats{0.75f, -0.75f, 1.5f, -1.5f}));
  start_gradient_average({&fc});
  EXPECT_EQ(numbers(fc.state_of("unmasked_gradient"))[0], 0.75f) << "as a stage goes on";
  drop_unmasked({&fc});
  EXPECT_TRUE(fc.state.empty());
}

}  // namespace
}  // namespace espalier
