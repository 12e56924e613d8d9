#include "espalier/prune/select.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "espalier/core/random.h"
#include "espalier/prune/criterion.h"
#include "prune/hand_made.h"

namespace espalier {
namespace {

/// Selects among units whose scores are given, in layers of these sizes.
std::vector<int> selected(const std::vector<float>& scores, const std::vector<int64_t>& layers,
                          const Selection& selection, Cut cut, Unit unit = Unit::weight) {
  HandMade model;
  for (size_t i = 0; i < layers.size(); ++i)
    model.add(join("fc", i, ".weight"), {1, layers[i]}, std::vector<float>(layers[i], 1.0f));
  const UnitSet units(unit, model.parameters());
  return flags(Ranking(units, Tensor::from({units.count}, scores), selection).select(cut));
}

std::vector<int> selected(const std::vector<float>& scores, const std::vector<int64_t>& layers, Scope scope,
                          Cut cut) {
  return selected(scores, layers, Selection{.scope = scope}, cut);
}

std::vector<int> selected(const std::vector<float>& scores, Cut cut) {
  return selected(scores, {static_cast<int64_t>(scores.size())}, scopes().named("global"), cut);
}

using Flags = std::vector<int>;

TEST(Select, TheLowestGo) {
  EXPECT_EQ(selected({5, 1, 4, 2, 3}, {Cut::share, 0.4}), (Flags{1, 0, 1, 0, 1}));
  EXPECT_EQ(selected({-5, 1, -4, 2, 3}, {Cut::share, 0.4}), (Flags{0, 1, 0, 1, 1}));  // negative ones too
}

TEST(Select, ScopeSaysWhoIsRankedAgainstWhom) {
  const std::vector<float> scores = {1, 2, 3, 4, 10, 20, 30, 40};
  EXPECT_EQ(selected(scores, {4, 4}, scopes().named("layer"), {Cut::share, 0.5}),
            (Flags{0, 0, 1, 1, 0, 0, 1, 1}));
  EXPECT_EQ(selected(scores, {4, 4}, scopes().named("global"), {Cut::share, 0.5}),
            (Flags{0, 0, 0, 0, 1, 1, 1, 1}));
}

/// A layer of two outputs with four inputs each, and one of one output with two.
std::vector<int> selected_by_output(const std::vector<float>& scores, const Selection& selection, Cut cut) {
  HandMade model;
  model.add("a.weight", {2, 4}, std::vector<float>(8, 1.0f));
  model.add("b.weight", {1, 2}, std::vector<float>(2, 1.0f));
  const UnitSet units(Unit::weight, model.parameters());
  return flags(Ranking(units, Tensor::from({units.count}, scores), selection).select(cut));
}

TEST(Select, EachOutputLosesTheSameShareOfItsInputs) {
  const Selection by_output{.scope = scopes().named("output")};
  const std::vector<float> scores = {4, 3, 2, 1, 50, 80, 60, 70, 9, 8};
  EXPECT_EQ(selected_by_output(scores, by_output, {Cut::share, 0.5}), (Flags{1, 1, 0, 0, 0, 1, 0, 1, 1, 0}));
  EXPECT_EQ(selected_by_output(scores, by_output, {Cut::share, 0.25}), (Flags{1, 1, 1, 0, 0, 1, 1, 1, 1, 0}))
      << "llround(0.25 x 2) is 1";
  EXPECT_EQ(selected_by_output(scores, by_output, {Cut::quantile, 0.5}),
            (Flags{1, 1, 0, 0, 0, 1, 0, 1, 1, 0}));
  EXPECT_EQ(selected_by_output(scores, by_output, {Cut::threshold, 3}),
            (Flags{1, 1, 0, 0, 1, 1, 1, 1, 1, 1}));
  for (const Limits& limits : {Limits{.max_ratio = 0.25}, Limits{.min_ratio = 0.25}}) {
    Selection limited = by_output;
    limited.limits = limits;
    EXPECT_EQ(message_of<UsageError>([&] {
                selected_by_output(scores, limited, {Cut::share, 0.5});
              }),
              "prune: limits are of layers, and scope output takes the same share of each output's inputs: "
              "expected another scope");
  }
  Selection own = by_output;
  own.shares_of = {{"a", 0.75}};
  EXPECT_EQ(selected_by_output(scores, own, {Cut::share, 0}), (Flags{1, 0, 0, 0, 0, 1, 0, 0, 1, 1}));
  const float gone = pruned_score;
  EXPECT_EQ(selected_by_output({4, 3, gone, 1, 50, gone, gone, 70, 9, 8}, by_output, {Cut::share, 0.25}),
            (Flags{1, 1, 0, 1, 1, 0, 0, 1, 1, 0}))
      << "what is gone counts in its own output";
}

TEST(Select, CountsRoundHalvesAwayFromZero) {
  const std::vector<float> scores = {1, 2, 3, 4, 5};
  EXPECT_EQ(selected(scores, {Cut::share, 0.1}), (Flags{0, 1, 1, 1, 1}));   // 0.5 of a unit
  EXPECT_EQ(selected(scores, {Cut::share, 0.29}), (Flags{0, 1, 1, 1, 1}));  // 1.45
  EXPECT_EQ(selected(scores, {Cut::share, 0.5}), (Flags{0, 0, 0, 1, 1}));   // 2.5
  EXPECT_EQ(selected(scores, {1, 4}, scopes().named("layer"), {Cut::share, 0.5}),
            (Flags{0, 0, 0, 1, 1}));  // 0.5, 2
}

TEST(Select, AmongEqualsTheLowerLayerAndIndexGoFirst) {
  EXPECT_EQ(selected({2, 1, 2, 1, 2, 2, 1, 2}, {Cut::share, 0.5}), (Flags{0, 0, 1, 0, 1, 1, 0, 1}));
  EXPECT_EQ(selected({7, 7, 7, 7, 7, 7}, {2, 4}, scopes().named("global"), {Cut::share, 0.5}),
            (Flags{0, 0, 0, 1, 1, 1}));
  EXPECT_EQ(selected({7, 7, 7, 7, 7, 7}, {2, 4}, scopes().named("layer"), {Cut::share, 0.5}),
            (Flags{0, 1, 0, 0, 1, 1}));
  EXPECT_EQ(selected({0.0f, -0.0f, 0.0f, -0.0f}, {Cut::share, 0.5}), (Flags{0, 0, 1, 1}));
}

TEST(Select, NoneAndAll) {
  for (const Scope& scope : {scopes().named("layer"), scopes().named("global")}) {
    EXPECT_EQ(selected({1, 1, 2}, {1, 2}, scope, {Cut::share, 0}), (Flags{1, 1, 1}));
    EXPECT_EQ(selected({1, 1, 2}, {1, 2}, scope, {Cut::share, 1}), (Flags{0, 0, 0}));
  }
}

TEST(Select, AGlobalScopeMayEmptyALayer) {
  EXPECT_EQ(selected({1, 1, 9, 9}, {2, 2}, scopes().named("global"), {Cut::share, 0.5}), (Flags{0, 0, 1, 1}));
}

TEST(Select, WhatWasPrunedCountsAndGoesAgain) {
  const std::vector<float> scores = {1, pruned_score, 2, 3, pruned_score, 4};
  EXPECT_EQ(selected(scores, {Cut::share, 0.5}), (Flags{0, 0, 1, 1, 0, 1}));      // two old, one new
  EXPECT_EQ(selected(scores, {Cut::share, 1.0 / 6}), (Flags{1, 0, 1, 1, 0, 1}));  // fewer than the old
  EXPECT_EQ(selected(scores, {Cut::share, 0}), (Flags{1, 0, 1, 1, 0, 1}));
  EXPECT_EQ(selected(scores, {Cut::threshold, 2}), (Flags{0, 0, 1, 1, 0, 1}));
  EXPECT_EQ(selected(scores, {Cut::threshold, -9}), (Flags{1, 0, 1, 1, 0, 1}));
  EXPECT_EQ(selected(scores, {Cut::quantile, 0.6}), (Flags{0, 0, 1, 1, 0, 1}));  // rank 3 is the 2
  EXPECT_EQ(selected(scores, {Cut::quantile, 0}), (Flags{1, 0, 1, 1, 0, 1}));
}

TEST(Select, ThresholdTakesWhatScoresBelowIt) {
  EXPECT_EQ(selected({0.1f, 0.3f, 0.2f, 0.7f}, {Cut::threshold, 0.3}), (Flags{0, 1, 0, 1}));
  EXPECT_EQ(selected({0.7f, 0.69f}, {Cut::threshold, 0.7}), (Flags{1, 0}));  // 0.7f is below 0.7 as a double
  EXPECT_EQ(selected({1, 2, 30, 40}, {2, 2}, scopes().named("layer"), {Cut::threshold, 10}),
            (Flags{0, 0, 1, 1}));
  EXPECT_EQ(selected({0, 1}, {Cut::threshold, 0}), (Flags{1, 1}));
}

TEST(Select, QuantileTakesWhatScoresBelowNumpysQuantile) {
  const std::vector<float> scores = {50, 10, 40, 20, 30};
  EXPECT_EQ(selected(scores, {Cut::quantile, 0}), (Flags{1, 1, 1, 1, 1}));     // 10
  EXPECT_EQ(selected(scores, {Cut::quantile, 0.25}), (Flags{1, 0, 1, 1, 1}));  // 20
  EXPECT_EQ(selected(scores, {Cut::quantile, 0.4}), (Flags{1, 0, 1, 0, 1}));   // 26
  EXPECT_EQ(selected(scores, {Cut::quantile, 0.5}), (Flags{1, 0, 1, 0, 1}));   // 30
  EXPECT_EQ(selected(scores, {Cut::quantile, 1}), (Flags{1, 0, 0, 0, 0}));     // 50: the highest stays
  EXPECT_EQ(selected({1, 2, 2, 2, 3}, {Cut::quantile, 0.5}), (Flags{0, 1, 1, 1, 1}));  // 2: ties with it stay
  EXPECT_EQ(selected({1, 2, 3, 10, 20, 30}, {3, 3}, scopes().named("layer"), {Cut::quantile, 0.5}),
            (Flags{0, 1, 1, 0, 1, 1}));
  EXPECT_EQ(selected({1, 2, 3, 10, 20, 30}, {3, 3}, scopes().named("global"), {Cut::quantile, 0.5}),  // 6.5
            (Flags{0, 0, 0, 1, 1, 1}));
}

TEST(Select, AQuantileAtARankIsThatRankWhateverTheLastBit) {
  ASSERT_GT(0.07 * 100, 7);  // in double precision
  std::vector<float> scores(101);
  std::iota(scores.begin(), scores.end(), 0.0f);
  const auto kept = selected(scores, {Cut::quantile, 0.07});
  EXPECT_EQ(std::count(kept.begin(), kept.end(), 0), 7);
}

TEST(Select, CountsAreExactForAnyScoresAndSparsity) {
  const uint64_t key = random_key(1, 0);
  for (uint64_t trial = 0; trial < 300; ++trial) {
    const uint64_t draw = random_key(key, trial);
    const std::vector<int64_t> layers = {1 + random_below(draw, 0, 40), 1 + random_below(draw, 1, 40),
                                         1 + random_below(draw, 2, 40)};
    const int64_t n = std::accumulate(layers.begin(), layers.end(), int64_t{0});
    const double sparsity = random_uniform(draw, 3);
    const int64_t values = 1 + random_below(draw, 4, 20);  // few, so that many tie
    std::vector<float> scores(n);
    for (int64_t i = 0; i < n; ++i)
      scores[i] = 0.25f * static_cast<float>(random_below(draw, 5 + i, values) - 5);

    const auto global = selected(scores, layers, scopes().named("global"), {Cut::share, sparsity});
    std::vector<int64_t> order(n);  // the definition: sort by score, then by place
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return scores[a] < scores[b]; });
    Flags expected(n, 1);
    for (int64_t i = 0; i < std::llround(sparsity * n); ++i) expected[order[i]] = 0;
    ASSERT_EQ(global, expected) << "trial " << trial;

    const auto by_layer = selected(scores, layers, scopes().named("layer"), {Cut::share, sparsity});
    auto layer = by_layer.begin();
    for (const int64_t size : layers) {
      ASSERT_EQ(std::count(layer, layer + size, 0), std::llround(sparsity * size)) << "trial " << trial;
      layer += size;
    }
  }
}

TEST(Select, TellsApartScoresThatShareTheirUpperHalf) {
  const float one = 1.0f, next = std::nextafter(one, 2.0f), third = std::nextafter(next, 2.0f);
  EXPECT_EQ(selected({third, one, next, one}, {Cut::share, 0.75}), (Flags{1, 0, 0, 0}));
  EXPECT_EQ(selected({-third, -one, -next}, {Cut::share, 1.0 / 3}), (Flags{0, 1, 1}));
}

// --- Limits of layers of weights ---

TEST(Select, NoLayerLosesMoreThanItsMaxRatio) {
  const std::vector<float> scores = {1, 2, 3, 4, 10, 20, 30, 40};
  Selection selection{.limits = {.max_ratio = 0.5}};
  EXPECT_EQ(selected(scores, {4, 4}, selection, {Cut::share, 0.5}), (Flags{0, 0, 1, 1, 0, 0, 1, 1}));
  EXPECT_EQ(selected(scores, {4, 4}, selection, {Cut::threshold, 25}), (Flags{0, 0, 1, 1, 0, 0, 1, 1}));
  EXPECT_EQ(selected(scores, {4, 4}, selection, {Cut::quantile, 0.5}), (Flags{0, 0, 1, 1, 1, 1, 1, 1}))
      << "four are below it, two of them held";
  selection.overrides = {{{"fc0"}, {}}};
  EXPECT_EQ(selected(scores, {4, 4}, selection, {Cut::share, 0.5}), (Flags{0, 0, 0, 0, 1, 1, 1, 1}));
}

TEST(Select, AMinRatioGoesInAnyCaseAndIsPartOfWhatIsAskedFor) {
  const std::vector<float> scores = {1, 2, 3, 4, 10, 20, 30, 40};
  Selection selection;
  selection.overrides = {{{"fc1"}, {.min_ratio = 0.75}}};
  EXPECT_EQ(selected(scores, {4, 4}, selection, {Cut::share, 0.5}), (Flags{0, 1, 1, 1, 0, 0, 0, 1}));
  EXPECT_EQ(selected(scores, {4, 4}, selection, {Cut::share, 0}), (Flags{1, 1, 1, 1, 0, 0, 0, 1}));
  EXPECT_EQ(selected(scores, {4, 4}, selection, {Cut::threshold, 3}), (Flags{0, 0, 1, 1, 0, 0, 0, 1}))
      << "and whatever scores below it";
}

TEST(Select, WhatWasPrunedGoesAgainWhateverItsLimit) {
  const std::vector<float> scores = {pruned_score, pruned_score, pruned_score, 4, 10, 20, 30, 40};
  const Selection selection{.limits = {.max_ratio = 0.5}};
  EXPECT_EQ(selected(scores, {4, 4}, selection, {Cut::share, 0.5}), (Flags{0, 0, 0, 1, 0, 1, 1, 1}));
}

TEST(Select, FiltersOfALayerAreRoundedToMultiples) {
  HandMade model;
  model.add("fc.weight", {10, 1}, std::vector<float>(10, 1.0f));
  const UnitSet filters(Unit::filter, model.parameters());
  const Tensor scores = Tensor::from({10}, std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  const auto left = [&](const Selection& selection, double share) {
    const Tensor kept = Ranking(filters, scores, selection).select({Cut::share, share});
    return std::ranges::count(kept.span<uint8_t>(), 1);
  };
  EXPECT_EQ(left({.round_to = 4}, 0.1), 8);
  EXPECT_EQ(left({.round_to = 4}, 0.3), 4);
  EXPECT_EQ(left({.limits = {.min_channels = 5}, .round_to = 4}, 0.9), 8);
  EXPECT_EQ(left({.limits = {.min_channels = 5}}, 0.9), 5);
  EXPECT_EQ(left({.round_to = 10}, 0.1), 10) << "none, though 0 is a multiple, too";
}

TEST(Select, OfLayersThatAreAlikeUnitsAreRankedTogether) {
  HandMade model;
  model.add("a.weight", {2, 1}, {1, 1});
  model.add("conv.weight", {2, 3, 3, 1}, std::vector<float>(18, 1.0f));
  model.add("b.weight", {2, 1}, {1, 1});
  const UnitSet filters(Unit::filter, model.parameters());
  const Tensor scores = Tensor::from({6}, std::vector<float>{1, 2, 0, 9, 3, 4});
  EXPECT_EQ(
      flags(Ranking(filters, scores, {.scope = scopes().named("isomorphic")}).select({Cut::share, 0.5})),
      (Flags{0, 0, 0, 1, 1, 1}));
}

TEST(Select, NOfEachMStay) {
  const Unit two_of_four = Unit::n_of(2, 4);
  EXPECT_EQ(selected({4, 1, 3, 2, 8, 8, 8, 8}, {8}, {}, {}, two_of_four), (Flags{1, 0, 1, 0, 0, 0, 1, 1}))
      << "of equals the later stay";
  EXPECT_EQ(selected({pruned_score, 1, pruned_score, pruned_score}, {4}, {}, {}, two_of_four),
            (Flags{0, 1, 0, 0}));
}

TEST(Select, AScopeThatSaysNothingIsRefused) {
  EXPECT_EQ(
      message_of<UsageError>([] { selected({1}, {1}, {.scope = scopes().named("layer")}, {}, Unit::layer); }),
      "prune: scope layer ranks the units of each layer, and a layer is one: expected global or isomorphic");
  EXPECT_EQ(message_of<UsageError>([] {
              selected({1, 2}, {2}, {.scope = scopes().named("layer")}, {}, Unit::n_of(1, 2));
            }),
            "prune: scope layer has nothing to say: weights are ranked in each 2 of 1:2");
}

TEST(Select, NOfEachMStayOfARowThatEndsWithFewer) {
  const auto kept = [](const std::vector<float>& scores, int64_t outputs, int64_t inputs, const Unit& unit) {
    HandMade model;
    model.add("fc.weight", {outputs, inputs}, std::vector<float>(scores.size(), 1.0f));
    const UnitSet units(unit, model.parameters());
    return flags(Ranking(units, Tensor::from({units.count}, scores), {}).select({}));
  };
  const Unit padded = Unit::n_of(2, 4, true);
  // As of 4 1 3 2 | 5 0 0 0 and of 1 2 3 4 | 9 8 7 0: what is not there goes first.
  EXPECT_EQ(kept({4, 1, 3, 2, 5}, 1, 5, padded), (Flags{1, 0, 1, 0, 1}));
  EXPECT_EQ(kept({1, 2, 3, 4, 9, 8, 7}, 1, 7, padded), (Flags{0, 0, 1, 1, 1, 1, 0}));
  EXPECT_EQ(kept({4, 1, 3, 2, 0, 0, 1, 2, 3, 4, 5, 6}, 2, 6, padded),
            (Flags{1, 0, 1, 0, 1, 1, 0, 0, 1, 1, 1, 1}))
      << "a row begins anew";
  EXPECT_EQ(kept({3, 3, 3}, 1, 3, padded), (Flags{0, 1, 1})) << "of equals the later stay";
  EXPECT_EQ(kept({1, 2, 3}, 1, 3, Unit::n_of(1, 8, true)), (Flags{0, 0, 1}));
  EXPECT_EQ(kept({4, 1, 3, 2, 8, 8, 8, 8}, 2, 4, padded),
            kept({4, 1, 3, 2, 8, 8, 8, 8}, 2, 4, Unit::n_of(2, 4)));
}

/// Two pixels of three channels, which lie pixel by pixel, and which files have channel by channel.
TEST(Select, NOfEachMStayAlongTheFilesOrder) {
  HandMade model;
  model.add("fc.weight", {1, 6}, std::vector<float>(6, 1.0f));
  model.parameters()[0]->layout = {.kind = FileLayout::flattened, .positions = 2};
  EXPECT_EQ(line_of(*model.parameters()[0]), (std::vector<int64_t>{0, 3, 1, 4, 2, 5}));
  const UnitSet units(Unit::n_of(1, 2), model.parameters());
  // Channels 5 1, 2 6, 3 4, as pixels 5 2 3 and 1 6 4.
  EXPECT_EQ(flags(Ranking(units, Tensor::from({6}, std::vector<float>{5, 2, 3, 1, 6, 4}), {}).select({})),
            (Flags{1, 0, 0, 0, 1, 1}));
}

// --- Layers with shares of their own ---

/// How many of each layer go, whose units have these scores, in layers of 4, 8 and 4 units and one output.
std::vector<int64_t> gone(const std::vector<float>& scores, const Selection& selection, double share,
                          const OriginalChannels& original = {}) {
  HandMade model;
  for (const auto& [name, size] : {std::pair{"a", 4}, {"b", 8}, {"c", 4}})
    model.add(join(name, ".weight"), {1, size}, std::vector<float>(static_cast<size_t>(size), 1.0f));
  const UnitSet units(Unit::weight, model.parameters());
  const Ranking ranking(units, Tensor::from({units.count}, scores), selection, original);
  const Tensor kept = ranking.select({Cut::share, share});
  std::vector<int64_t> gone;
  for (const UnitGroup& group : units.groups)
    gone.push_back(std::ranges::count(kept.span<uint8_t>().subspan(group.first, group.count), 0));
  EXPECT_TRUE(ranking.limited() ||
              ranking.asked(share) == std::accumulate(gone.begin(), gone.end(), int64_t{0}));
  return gone;
}
const std::vector<float> sixteen = {1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4};
using Counts = std::vector<int64_t>;

TEST(Select, ErkGivesEachLayerItsShare) {
  // Raw densities are 5/4, 9/8 and 5/4: 8 of 16 stay, eps = 8 / (5 + 9 + 5), and 2.1, 3.8 and 2.1 stay.
  EXPECT_EQ(gone(sixteen, {.scope = scopes().named("erk")}, 0.5), (Counts{2, 4, 2}));
  EXPECT_EQ(gone(sixteen, {.scope = scopes().named("erk")}, 0.75), (Counts{3, 6, 3}));
}

TEST(Select, ErkGoesOnFromWhatWasPrunedAndTheTotalIsExact) {
  std::vector<float> scores = sixteen;
  for (const size_t i : {0, 1, 2, 3}) scores[i] = pruned_score;  // all of a, which is more than its share
  EXPECT_EQ(gone(scores, {.scope = scopes().named("erk")}, 0.5), (Counts{4, 3, 1}));
}

TEST(Select, ALayersOwnShareLeavesTheOthersTheirs) {
  const Selection by_layer{.scope = scopes().named("layer"), .shares_of = {{"b", 0.25}}};
  EXPECT_EQ(gone(sixteen, by_layer, 0.5), (Counts{2, 2, 2}));
  EXPECT_EQ(gone(sixteen, by_layer, 0), (Counts{0, 2, 0}));
  const Selection erk{.scope = scopes().named("erk"), .shares_of = {{"b", 1}, {"?", 0.75}, {"a", 0}}};
  EXPECT_EQ(gone(sixteen, erk, 0.5), (Counts{0, 6, 3})) << "the last that means a layer counts";
  const Selection one_own{.scope = scopes().named("erk"), .shares_of = {{"b", 0}}};
  EXPECT_EQ(gone(sixteen, one_own, 0.5), (Counts{2, 0, 2})) << "half of the others";
}

TEST(Select, LimitsHoldBesideSharesOfLayers) {
  Selection erk{.scope = scopes().named("erk"), .limits = {.max_ratio = 0.5}};
  EXPECT_EQ(gone(sixteen, erk, 0.5), (Counts{2, 4, 2}));
  erk.overrides = {{{"b"}, {.max_ratio = 0.25}}, {{"a"}, {.max_ratio = 1}}, {{"c"}, {.max_ratio = 1}}};
  EXPECT_EQ(gone(sixteen, erk, 0.5), (Counts{3, 2, 3})) << "the others give what b does not";
  erk.overrides = {{{"b"}, {.min_ratio = 0.75}}};
  erk.limits = {};
  EXPECT_EQ(gone(sixteen, erk, 0.5), (Counts{1, 6, 1}));
  Selection uniform{
      .scope = scopes().named("layer"), .limits = {.max_ratio = 0.25}, .shares_of = {{"a", 0.75}}};
  EXPECT_EQ(gone(sixteen, uniform, 0.5), (Counts{1, 2, 1})) << "of its own share, too";
}

TEST(Select, AShareOfWhatIsLeftIsExact) {
  std::vector<float> scores = sixteen;
  for (const size_t i : {0, 1, 2, 4}) scores[i] = pruned_score;
  const OriginalChannels before{.gone = {{"a", 3}, {"b", 1}}};
  EXPECT_EQ(gone(scores, {.scope = scopes().named("layer")}, 0.5, before), (Counts{4, 5, 2}))
      << "llround(0.5), llround(3.5) and 2 more";
  EXPECT_EQ(gone(scores, {}, 0.5, before), (Counts{4, 3, 3})) << "6 of 12 more: 4, 2 3 and 1 2 3";
  EXPECT_EQ(gone(scores, {.scope = scopes().named("erk")}, 0.5, before), (Counts{3, 5, 2})) << "10 in all";
  EXPECT_EQ(gone(scores, {}, 0, before), (Counts{3, 1, 0}));
}

TEST(Select, SharesOfLayersThatSayNothingAreRefused) {
  EXPECT_EQ(
      message_of<UsageError>([] {
        gone(sixteen, {.shares_of = {{"a", 0.5}}}, 0.5);
      }),
      "prune: layers have shares of their own where each is ranked, and scope is global: expected scope "
      "layer, output, uniform, uniform_plus, erk");
  EXPECT_EQ(message_of([] {
              gone(sixteen, {.scope = scopes().named("layer"), .shares_of = {{"d", 0.5}}}, 0.5);
            }),
            "prune: sparsity_of 'd' names no convolution or linear layer, known: a, b, c, did you mean 'a'?");
}

// --- Channels ---

/// A set of all channels of groups that may go, with their scores.
struct Channels {
  Channels(Module& model, const std::vector<ChannelGroup>& groups,
           const std::vector<std::vector<float>>& given, const std::map<std::string, int64_t>& original = {},
           const std::vector<std::string>& include = {}, const std::vector<std::string>& exclude = {},
           const std::map<std::string, int64_t>& parts = {})
      : units(std::make_shared<const UnitSet::Channels>(Network(model, any_input), ChannelGraph{groups, {}}),
              groups_that_may_lose(groups, include, exclude)),
        originals{original, parts} {
    std::vector<float> all;
    for (const UnitGroup& group : units.groups)
      all.insert(all.end(), given[group.channel_group].begin(), given[group.channel_group].end());
    scores = Tensor::from({units.count}, all);
  }

  ChannelVerdicts select(int64_t count, const Selection& selection) const {
    const Ranking ranking(units, scores, selection, originals);
    return units.verdicts(ranking.select(cut(count, ranking)));
  }
  std::vector<Ranking::Held> held(int64_t count, const Selection& selection) const {
    const Ranking ranking(units, scores, selection, originals);
    return ranking.held(cut(count, ranking));
  }
  static Cut cut(int64_t count, const Ranking& ranking) {
    return {Cut::share, static_cast<double>(count) / static_cast<double>(ranking.units())};
  }

  UnitSet units;
  OriginalChannels originals;
  Tensor scores;
};

/// Groups that layers a, b, c ... make, with these scores; nothing reads them.
struct Groups {
  explicit Groups(const std::vector<std::vector<float>>& s) : scores(s) {
    for (size_t g = 0; g < s.size(); ++g) {
      const auto n = static_cast<int64_t>(s[g].size());
      Parameter& weight = model.add(std::string(1, static_cast<char>('a' + g)) + ".weight", {n, 1},
                                    std::vector<float>(s[g].size(), 1.0f));
      groups.push_back({.channels = n, .members = {{&weight, 0, true, {}}}, .fixed = ""});
      set_multiplicity(g, 1);
    }
  }

  /// As many outputs of a group's layer stand for a channel as a grouped convolution has groups.
  void set_multiplicity(size_t g, int64_t multiplicity) {
    groups[g].multiplicity = multiplicity;
    auto& channel_of = groups[g].members[0].channel_of;
    channel_of.clear();
    for (int64_t i = 0; i < multiplicity * groups[g].channels; ++i)
      channel_of.push_back(static_cast<int32_t>(i % groups[g].channels));
  }

  ChannelVerdicts select(int64_t count, const Selection& selection,
                         const std::vector<std::string>& include = {},
                         const std::vector<std::string>& exclude = {}) {
    const Channels channels(model, groups, scores, original, include, exclude);
    return channels.select(count, selection);
  }
  std::vector<Ranking::Held> held(int64_t count, const Selection& selection) {
    return Channels(model, groups, scores, original).held(count, selection);
  }

  /// How many channels of each group stay.
  std::vector<int64_t> left(int64_t count, const Selection& selection) {
    std::vector<int64_t> left;
    for (const auto& verdicts : select(count, selection))
      left.push_back(std::count(verdicts.begin(), verdicts.end(), 1));
    return left;
  }

  HandMade model;
  std::vector<std::vector<float>> scores;
  std::vector<ChannelGroup> groups;
  std::map<std::string, int64_t> original = {};
};

Selection of(Scope scope, int64_t min_channels = 1) {
  return {.scope = scope, .limits = {.min_channels = min_channels}};
}

using V = ChannelVerdicts;

TEST(SelectChannels, ScopeSaysWhoIsRankedAgainstWhom) {
  Groups groups({{1, 2, 3, 4}, {10, 20, 30, 40}});
  EXPECT_EQ(groups.select(4, of(scopes().named("layer"))), (V{{0, 0, 1, 1}, {0, 0, 1, 1}}));
  EXPECT_EQ(groups.select(3, of(scopes().named("global"))), (V{{0, 0, 0, 1}, {1, 1, 1, 1}}));
  EXPECT_EQ(groups.select(0, of(scopes().named("global"))), (V{{1, 1, 1, 1}, {1, 1, 1, 1}}));
}

TEST(SelectChannels, IsomorphicRanksLikeWithLike) {
  Groups groups({{1, 2}, {3, 4}, {0, 9}});
  Parameter& other = groups.model.add("other.weight", {2, 3, 3, 1}, std::vector<float>(18, 1.0f));
  groups.groups[2].members[0].parameter = &other;  // a convolution among linear layers
  EXPECT_EQ(groups.select(3, of(scopes().named("isomorphic"))),
            (V{{0, 1}, {0, 1}, {0, 1}}));  // 1 and 2 of 4, 0 of 2
  EXPECT_EQ(groups.select(2, of(scopes().named("isomorphic"))), (V{{0, 1}, {1, 1}, {0, 1}}));
}

TEST(SelectChannels, AmongEqualsTheLowerGroupAndIndexGoFirst) {
  Groups groups({{7, 7, 7}, {7, 7, 7}});
  EXPECT_EQ(groups.select(1, of(scopes().named("global"))), (V{{0, 1, 1}, {1, 1, 1}}));
  EXPECT_EQ(groups.select(3, of(scopes().named("global"))),
            (V{{0, 0, 1}, {0, 1, 1}}));  // at its least, the next
  EXPECT_EQ(groups.select(2, of(scopes().named("layer"))), (V{{0, 1, 1}, {0, 1, 1}}));
}

TEST(SelectChannels, NoGroupFallsUnderItsLeastWidthAndThatIsSaid) {
  Groups groups({{1, 2, 3, 4}, {10, 20, 30, 40}});
  EXPECT_EQ(groups.select(2, of(scopes().named("global"), 3)), (V{{0, 1, 1, 1}, {0, 1, 1, 1}}));
  EXPECT_EQ(groups.select(8, of(scopes().named("global"), 3)), (V{{0, 1, 1, 1}, {0, 1, 1, 1}}))
      << "all that may go";
  const auto held = groups.held(2, of(scopes().named("global"), 3));
  ASSERT_EQ(held.size(), 1u);
  EXPECT_EQ(held[0].layer, "a");
  EXPECT_EQ(held[0].units, 4);
  EXPECT_EQ(held[0].kept, 3);
  EXPECT_EQ(held[0].wanted, 2);
}

TEST(SelectChannels, TheLeastWidthIsEightOrATenthUnlessSaid) {
  Groups groups({std::vector<float>(20, 1), std::vector<float>(200, 1), std::vector<float>(5, 1)});
  Selection selection;
  const auto kept = [&](int64_t count) { return groups.left(count, selection); };
  EXPECT_EQ(kept(225), (std::vector<int64_t>{8, 20, 5}));
  selection.limits.max_ratio = 0.5;
  EXPECT_EQ(kept(225), (std::vector<int64_t>{10, 100, 5}));
  selection.overrides = {{{"a"}, {.min_channels = 2}}};
  EXPECT_EQ(kept(225), (std::vector<int64_t>{2, 100, 5}));
  selection.limits = {.min_channels = 1, .min_ratio = 0.25};
  EXPECT_EQ(kept(0), (std::vector<int64_t>{20, 150, 4})) << "the last counts, which says nothing of a ratio";
}

TEST(SelectChannels, WhatStaysIsRoundedDownOrUpToTheLeastWidth) {
  Groups groups({{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, {20, 21, 22, 23, 24, 25}});
  Selection selection = of(scopes().named("global"));
  selection.round_to = 4;
  EXPECT_EQ(groups.select(1, selection), (V{{0, 0, 1, 1, 1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1}}));
  EXPECT_EQ(groups.select(3, selection), (V{{0, 0, 0, 0, 0, 0, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1}}));
  selection.limits.min_channels = 5;  // 8, as a multiple
  EXPECT_EQ(groups.select(9, selection), (V{{0, 0, 1, 1, 1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1}}));
}

TEST(SelectChannels, WhatGoesInAnyCaseIsPartOfWhatIsAskedFor) {
  Groups groups({{1, 2, 3, 4}, {10, 20, 30, 40}, {11, 21, 31, 41}});
  Selection selection = of(scopes().named("global"));
  selection.overrides = {{{"b"}, {.min_channels = 1, .min_ratio = 0.75}}};
  EXPECT_EQ(groups.select(0, selection), (V{{1, 1, 1, 1}, {0, 0, 0, 1}, {1, 1, 1, 1}}));
  EXPECT_EQ(groups.select(2, selection), groups.select(0, selection)) << "three go in any case";
  EXPECT_EQ(groups.select(4, selection), (V{{0, 1, 1, 1}, {0, 0, 0, 1}, {1, 1, 1, 1}}));
  EXPECT_EQ(groups.select(7, selection), (V{{0, 0, 0, 1}, {0, 0, 0, 1}, {0, 1, 1, 1}}));
  selection.scope = scopes().named("layer");
  EXPECT_EQ(groups.left(6, selection), (std::vector<int64_t>{2, 1, 2})) << "half of each, of b more";
}

/// 32 groups of 4, of 2 and of 10; 60 channels by threes; and 30 of their own.
struct Grouped : Groups {
  Grouped()
      : Groups({{1, 2, 3, 4},
                {1, 2},
                std::vector<float>(10, 1),
                std::vector<float>(20, 1),
                std::vector<float>(30, 1)}) {
    for (const size_t g : {0, 1, 2}) set_multiplicity(g, 32);
    set_multiplicity(3, 3);
  }
};

TEST(SelectChannels, LeastWidthsAreOfRealChannels) {
  Grouped groups;
  const auto left = [&](Selection selection) { return groups.left(66, selection); };
  // The least of 128, 64 and 320 is 13, 8 and 32, no more than one channel of the group is; of 60 it is 8,
  // three channels of 3.
  EXPECT_EQ(left({}), (std::vector<int64_t>{1, 1, 1, 3, 8}));
  EXPECT_EQ(left(of(scopes().named("global"), 32)), (std::vector<int64_t>{1, 1, 1, 11, 30}));
  EXPECT_EQ(left(of(scopes().named("global"), 33)), (std::vector<int64_t>{2, 2, 2, 11, 30}));
  EXPECT_EQ(left(of(scopes().named("global"), 97)), (std::vector<int64_t>{4, 2, 4, 20, 30}))
      << "33 of 20: all";
  Selection selection;
  selection.limits.max_ratio = 0.5;  // of the group's channels
  EXPECT_EQ(left(selection), (std::vector<int64_t>{2, 1, 5, 10, 15}));
}

TEST(SelectChannels, MultiplesAreOfRealChannels) {
  Grouped groups;
  Selection selection = of(scopes().named("layer"));
  selection.round_to = 8;  // 32 is one already; of threes 8 make the first, 24
  EXPECT_EQ(groups.left(33, selection), (std::vector<int64_t>{2, 1, 5, 8, 8})) << "10 and 15, rounded down";
  selection.limits.min_channels = 25;  // 9 threes, so 16 of them
  EXPECT_EQ(groups.left(66, selection), (std::vector<int64_t>{1, 1, 1, 16, 30})) << "32 of 30: all";
  selection = of(scopes().named("layer"));
  selection.round_to = 128;
  EXPECT_EQ(groups.left(33, selection), (std::vector<int64_t>{4, 2, 4, 20, 30}));
  groups.set_multiplicity(3, 6);  // 6 and 8 have 2 in common: 4 of them, 24
  selection.round_to = 8;
  EXPECT_EQ(groups.left(20, selection), (std::vector<int64_t>{3, 1, 7, 12, 16})) << "14 and 21, rounded down";
}

TEST(SelectChannels, CountsAreOfTheOriginalNetwork) {
  Groups groups({{1, 2, 3, 4}, {10, 20, 30, 40}});
  groups.original = {{"a", 6}, {"b", 4}};  // two of the first are gone
  EXPECT_EQ(groups.select(2, of(scopes().named("global"))), (V{{1, 1, 1, 1}, {1, 1, 1, 1}}));
  EXPECT_EQ(groups.select(3, of(scopes().named("global"))), (V{{0, 1, 1, 1}, {1, 1, 1, 1}}));
  EXPECT_EQ(groups.select(5, of(scopes().named("layer"))),
            (V{{0, 1, 1, 1}, {0, 0, 1, 1}}));  // 3 of 6, 2 of 4
  const auto held = groups.held(5, of(scopes().named("layer"), 4));
  ASSERT_EQ(held.size(), 2u);
  EXPECT_EQ(held[0].units, 6);
  EXPECT_EQ(held[0].kept, 4);
  EXPECT_EQ(held[0].wanted, 3);
}

TEST(SelectChannels, WhatIsFixedExcludedOrNotIncludedStays) {
  Groups groups({{1, 2}, {3, 4}, {5, 6}});
  groups.groups[2].fixed = "the network's output";
  const Selection selection = of(scopes().named("layer"));
  using Names = std::vector<std::string>;
  EXPECT_EQ(groups.select(1, selection, {}, {"a"}), (V{{1, 1}, {0, 1}, {1, 1}}));
  EXPECT_EQ(groups.select(1, selection, {"a"}), (V{{0, 1}, {1, 1}, {1, 1}}));
  const auto message = [&](const Names& include, const Names& exclude) {
    return message_of<Error>([&] { groups.select(1, selection, include, exclude); });
  };
  EXPECT_EQ(message({"c"}, {}), "prune: include 'c': its channels are the network's output and stay");
  EXPECT_EQ(message({"d"}, {}),
            "prune: include 'd' names no convolution or linear layer, known: a, b, c, did you mean "
            "'a'?");
  EXPECT_EQ(message({}, {"a", "b"}),
            "prune: no channels may go: all but the network's input and output are left out by include and "
            "exclude");
}

/// Layers a and b side by side, 4 and 6 channels, which c reads channel by channel and makes anew; d reads
/// only the last two.
struct SideBySide {
  SideBySide() {
    const auto add = [&](const char* name, bool out, std::vector<int32_t> channel_of) {
      const auto n = static_cast<int64_t>(channel_of.size());
      const Shape shape = out ? Shape{n, 1} : Shape{1, n};
      Parameter& weight = model.add(name, shape, std::vector<float>(channel_of.size(), 1.0f));
      group.members.push_back({&weight, out ? 0 : 1, out, std::move(channel_of)});
    };
    add("a.weight", true, {0, 1, 2, 3});
    add("b.weight", true, {4, 5, 6, 7, 8, 9});
    add("c.weight", true, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
    add("d.weight", false, {8, 9});
  }

  std::vector<uint8_t> select(int64_t count, const Selection& selection,
                              const std::map<std::string, int64_t>& parts = {}) {
    return select(count, selection, {1, 2, 3, 4, 9, 10, 8, 7, 5, 6}, parts);
  }
  std::vector<uint8_t> select(int64_t count, const Selection& selection, const std::vector<float>& scores,
                              const std::map<std::string, int64_t>& parts = {}) {
    int64_t original = 10;
    for (const auto& [maker, channels] : parts) original += channels - (maker == "a" ? 4 : 6);
    return Channels(model, {group}, {scores}, {{"a", original}}, {}, {}, parts).select(count, selection)[0];
  }

  HandMade model;
  ChannelGroup group{.channels = 10, .members = {}, .fixed = ""};
};

using Verdicts = std::vector<uint8_t>;

TEST(SelectChannels, OfLayersSideBySideNoneIsEmptied) {
  SideBySide layers;
  EXPECT_EQ(layers.select(5, of(scopes().named("global"))), (Verdicts{0, 0, 0, 1, 1, 1, 1, 0, 0, 1}))
      << "the next in line goes instead of a's last";
  EXPECT_EQ(layers.select(9, of(scopes().named("global"))), (Verdicts{0, 0, 0, 1, 0, 0, 0, 0, 0, 1}))
      << "of what d reads one stays";
}

TEST(SelectChannels, LimitsHoldForEachLayerSideBySide) {
  SideBySide layers;
  EXPECT_EQ(layers.select(10, of(scopes().named("global"), 3)), (Verdicts{0, 1, 1, 1, 1, 1, 0, 0, 0, 1}));
  Selection selection = of(scopes().named("global"));
  selection.limits.max_ratio = 0.5;
  EXPECT_EQ(layers.select(10, selection), (Verdicts{0, 0, 1, 1, 1, 1, 0, 0, 0, 1})) << "2 of 4, 3 of 6";
  EXPECT_EQ(layers.select(10, selection, {{"a", 8}, {"b", 6}}), (Verdicts{1, 1, 1, 1, 1, 1, 0, 0, 0, 1}))
      << "half of a is gone";
  selection.limits = {.min_channels = 1, .min_ratio = 0.5};
  EXPECT_EQ(layers.select(0, selection), (Verdicts{0, 0, 1, 1, 1, 1, 0, 0, 0, 1}))
      << "2 of 4 and 3 of 6 in any case, and so 5 of 10";
  selection = of(scopes().named("global"));
  selection.overrides = {{{"b"}, {.min_channels = 5}}, {{"c"}, {.min_channels = 7}}};
  EXPECT_EQ(layers.select(10, selection), (Verdicts{0, 0, 0, 1, 1, 1, 1, 1, 1, 1})) << "7 of all ten";
}

TEST(SelectChannels, LayersSideBySideAreRoundedEachAndTheirSumWithThem) {
  SideBySide layers;
  Selection selection = of(scopes().named("global"));
  selection.round_to = 2;
  EXPECT_EQ(layers.select(1, selection), (Verdicts{0, 0, 1, 1, 1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(layers.select(5, selection), (Verdicts{0, 0, 1, 1, 0, 1, 0, 0, 0, 1}))
      << "of b 3 would be left; the last that d reads stays, and the next goes";
  selection.round_to = 3;  // a has no more than one three, and then c
  EXPECT_EQ(layers.select(1, selection), (Verdicts{0, 1, 1, 1, 1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(layers.select(3, selection), (Verdicts{0, 1, 1, 1, 1, 1, 0, 0, 0, 1}));
}

TEST(SelectChannels, RoundedUpWhereALimitOfAllHoldsWhatIsSideBySide) {
  SideBySide layers;
  Selection selection = of(scopes().named("global"));
  selection.round_to = 2;
  selection.overrides = {{{"c"}, {.min_channels = 8}}};
  // One of a goes and one of b. Of c's 8 no more may, so that a's comes back; then another of b may.
  EXPECT_EQ(layers.select(2, selection, {1, 3, 4, 5, 2, 6, 7, 8, 9, 10}),
            (Verdicts{1, 1, 1, 1, 0, 0, 1, 1, 1, 1}));
}

}  // namespace
}  // namespace espalier
