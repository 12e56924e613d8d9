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

/// Selects among weights that are their own scores, in layers of these sizes.
std::vector<int> selected(const std::vector<float>& scores, const std::vector<int64_t>& layers, Scope scope,
                          Cut cut) {
  HandMade model;
  for (size_t i = 0; i < layers.size(); ++i)
    model.add(join("fc", i, ".weight"), {layers[i], 1}, std::vector<float>(layers[i], 1.0f));
  const UnitSet units(Unit::weight, model.parameters());
  return flags(select(units, Tensor::from({units.count}, scores), scope, cut));
}

std::vector<int> selected(const std::vector<float>& scores, Cut cut) {
  return selected(scores, {static_cast<int64_t>(scores.size())}, Scope::global, cut);
}

using Flags = std::vector<int>;

TEST(Select, TheLowestGo) {
  EXPECT_EQ(selected({5, 1, 4, 2, 3}, {Cut::sparsity, 0.4}), (Flags{1, 0, 1, 0, 1}));
  EXPECT_EQ(selected({-5, 1, -4, 2, 3}, {Cut::sparsity, 0.4}), (Flags{0, 1, 0, 1, 1}));  // negative ones too
}

TEST(Select, ScopeSaysWhoIsRankedAgainstWhom) {
  const std::vector<float> scores = {1, 2, 3, 4, 10, 20, 30, 40};
  EXPECT_EQ(selected(scores, {4, 4}, Scope::layer, {Cut::sparsity, 0.5}), (Flags{0, 0, 1, 1, 0, 0, 1, 1}));
  EXPECT_EQ(selected(scores, {4, 4}, Scope::global, {Cut::sparsity, 0.5}), (Flags{0, 0, 0, 0, 1, 1, 1, 1}));
}

TEST(Select, CountsRoundHalvesAwayFromZero) {
  const std::vector<float> scores = {1, 2, 3, 4, 5};
  EXPECT_EQ(selected(scores, {Cut::sparsity, 0.1}), (Flags{0, 1, 1, 1, 1}));   // 0.5 of a unit
  EXPECT_EQ(selected(scores, {Cut::sparsity, 0.29}), (Flags{0, 1, 1, 1, 1}));  // 1.45
  EXPECT_EQ(selected(scores, {Cut::sparsity, 0.5}), (Flags{0, 0, 0, 1, 1}));   // 2.5
  EXPECT_EQ(selected(scores, {1, 4}, Scope::layer, {Cut::sparsity, 0.5}), (Flags{0, 0, 0, 1, 1}));  // 0.5, 2
}

TEST(Select, AmongEqualsTheLowerLayerAndIndexGoFirst) {
  EXPECT_EQ(selected({2, 1, 2, 1, 2, 2, 1, 2}, {Cut::sparsity, 0.5}), (Flags{0, 0, 1, 0, 1, 1, 0, 1}));
  EXPECT_EQ(selected({7, 7, 7, 7, 7, 7}, {2, 4}, Scope::global, {Cut::sparsity, 0.5}),
            (Flags{0, 0, 0, 1, 1, 1}));
  EXPECT_EQ(selected({7, 7, 7, 7, 7, 7}, {2, 4}, Scope::layer, {Cut::sparsity, 0.5}),
            (Flags{0, 1, 0, 0, 1, 1}));
  EXPECT_EQ(selected({0.0f, -0.0f, 0.0f, -0.0f}, {Cut::sparsity, 0.5}), (Flags{0, 0, 1, 1}));
}

TEST(Select, NoneAndAll) {
  for (const Scope scope : {Scope::layer, Scope::global}) {
    EXPECT_EQ(selected({1, 1, 2}, {1, 2}, scope, {Cut::sparsity, 0}), (Flags{1, 1, 1}));
    EXPECT_EQ(selected({1, 1, 2}, {1, 2}, scope, {Cut::sparsity, 1}), (Flags{0, 0, 0}));
  }
}

TEST(Select, AGlobalScopeMayEmptyALayer) {
  EXPECT_EQ(selected({1, 1, 9, 9}, {2, 2}, Scope::global, {Cut::sparsity, 0.5}), (Flags{0, 0, 1, 1}));
}

TEST(Select, WhatWasPrunedCountsAndGoesAgain) {
  const std::vector<float> scores = {1, pruned_score, 2, 3, pruned_score, 4};
  EXPECT_EQ(selected(scores, {Cut::sparsity, 0.5}), (Flags{0, 0, 1, 1, 0, 1}));      // two old, one new
  EXPECT_EQ(selected(scores, {Cut::sparsity, 1.0 / 6}), (Flags{1, 0, 1, 1, 0, 1}));  // fewer than the old
  EXPECT_EQ(selected(scores, {Cut::sparsity, 0}), (Flags{1, 0, 1, 1, 0, 1}));
  EXPECT_EQ(selected(scores, {Cut::threshold, 2}), (Flags{0, 0, 1, 1, 0, 1}));
  EXPECT_EQ(selected(scores, {Cut::threshold, -9}), (Flags{1, 0, 1, 1, 0, 1}));
  EXPECT_EQ(selected(scores, {Cut::quantile, 0.6}), (Flags{0, 0, 1, 1, 0, 1}));  // rank 3 is the 2
  EXPECT_EQ(selected(scores, {Cut::quantile, 0}), (Flags{1, 0, 1, 1, 0, 1}));
}

TEST(Select, ThresholdTakesWhatScoresBelowIt) {
  EXPECT_EQ(selected({0.1f, 0.3f, 0.2f, 0.7f}, {Cut::threshold, 0.3}), (Flags{0, 1, 0, 1}));
  EXPECT_EQ(selected({0.7f, 0.69f}, {Cut::threshold, 0.7}), (Flags{1, 0}));  // 0.7f is below 0.7 as a double
  EXPECT_EQ(selected({1, 2, 30, 40}, {2, 2}, Scope::layer, {Cut::threshold, 10}), (Flags{0, 0, 1, 1}));
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
  EXPECT_EQ(selected({1, 2, 3, 10, 20, 30}, {3, 3}, Scope::layer, {Cut::quantile, 0.5}),
            (Flags{0, 1, 1, 0, 1, 1}));
  EXPECT_EQ(selected({1, 2, 3, 10, 20, 30}, {3, 3}, Scope::global, {Cut::quantile, 0.5}),  // 6.5
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

    const auto global = selected(scores, layers, Scope::global, {Cut::sparsity, sparsity});
    std::vector<int64_t> order(n);  // the definition: sort by score, then by place
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return scores[a] < scores[b]; });
    Flags expected(n, 1);
    for (int64_t i = 0; i < std::llround(sparsity * n); ++i) expected[order[i]] = 0;
    ASSERT_EQ(global, expected) << "trial " << trial;

    const auto by_layer = selected(scores, layers, Scope::layer, {Cut::sparsity, sparsity});
    auto layer = by_layer.begin();
    for (const int64_t size : layers) {
      ASSERT_EQ(std::count(layer, layer + size, 0), std::llround(sparsity * size)) << "trial " << trial;
      layer += size;
    }
  }
}

TEST(Select, TellsApartScoresThatShareTheirUpperHalf) {
  const float one = 1.0f, next = std::nextafter(one, 2.0f), third = std::nextafter(next, 2.0f);
  EXPECT_EQ(selected({third, one, next, one}, {Cut::sparsity, 0.75}), (Flags{1, 0, 0, 0}));
  EXPECT_EQ(selected({-third, -one, -next}, {Cut::sparsity, 1.0 / 3}), (Flags{0, 1, 1}));
}

TEST(Select, RefusesWhatIsNoShare) {
  EXPECT_EQ(message_of<UsageError>([] {
              selected({1, 2}, {Cut::sparsity, 1.5});
            }),
            "prune: sparsity is 1.5, expected 0..1");
  EXPECT_EQ(message_of<UsageError>([] {
              selected({1, 2}, {Cut::quantile, -0.1});
            }),
            "prune: quantile is -0.1, expected 0..1");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(selected({1, 2}, {Cut::sparsity, nan}), UsageError);
  EXPECT_EQ(message_of<UsageError>([&] {
              selected({1, 2}, {Cut::threshold, nan});
            }),
            "prune: threshold is nan, expected a number");
}

TEST(Select, ScopeNamesReadBack) {
  EXPECT_EQ(scope_names(), (std::vector<std::string>{"layer", "global", "isomorphic"}));
  EXPECT_EQ(scope_named("layer"), Scope::layer);
  EXPECT_EQ(scope_named("global"), Scope::global);
  EXPECT_EQ(message_of<UsageError>([] { scope_named("globl"); }),
            "scope: found 'globl', expected one of layer, global, isomorphic, did you mean 'global'?");
}

class Layers : public testing::Test {
 protected:
  Layers() {
    for (const char* layer : {"conv1", "layer1.0.conv1", "layer1.0.conv2", "layer10.0.conv1", "fc"}) {
      model.add(join(layer, ".weight"), {1, 1}, {1});
      model.add(join(layer, ".bias"), {1}, {1}, Role::bias);
    }
    model.add("bn1.weight", {1}, {1}, Role::scale);
    model.add("bn1.running_mean", {1}, {0}, Role::buffer);
  }

  std::vector<std::string> chosen(const std::vector<std::string>& include,
                                  const std::vector<std::string>& exclude) {
    std::vector<std::string> names;
    for (const Parameter* weight : prunable_weights(model, include, exclude)) names.push_back(weight->name);
    return names;
  }

  HandMade model;
};
using Names = std::vector<std::string>;

TEST_F(Layers, AllWeightsOfConvolutionsAndLinearLayersArePrunable) {
  EXPECT_EQ(chosen({}, {}), (Names{"conv1.weight", "layer1.0.conv1.weight", "layer1.0.conv2.weight",
                                   "layer10.0.conv1.weight", "fc.weight"}));
}

TEST_F(Layers, AnEntryIsALayersNameOrThatOfWhatItLiesUnder) {
  const Names one{"layer1.0.conv1.weight", "layer1.0.conv2.weight"};
  const Names ten{"layer1.0.conv1.weight", "layer1.0.conv2.weight", "layer10.0.conv1.weight"};
  EXPECT_EQ(chosen({"layer1"}, {}), one) << "and not layer10";
  EXPECT_EQ(chosen({"layer1*"}, {}), ten);
  EXPECT_EQ(chosen({"layer1.0.conv?"}, {}), one);
  EXPECT_EQ(chosen({"*.conv1"}, {}), (Names{"layer1.0.conv1.weight", "layer10.0.conv1.weight"}));
  EXPECT_EQ(chosen({"layer1.0.conv2", "fc"}, {}), (Names{"layer1.0.conv2.weight", "fc.weight"}));
  EXPECT_EQ(chosen({}, {"layer1", "conv1"}), (Names{"layer10.0.conv1.weight", "fc.weight"}));
}

TEST_F(Layers, ExcludeWins) {
  EXPECT_EQ(chosen({"layer1", "fc"}, {"layer1.0.conv1"}), (Names{"layer1.0.conv2.weight", "fc.weight"}));
  EXPECT_EQ(message_of<Error>([&] { chosen({"fc"}, {"fc"}); }),
            "prune: nothing to prune, include and exclude leave no layer");
}

TEST_F(Layers, AnEntryThatNamesNoneIsAnError) {
  EXPECT_EQ(message_of<Error>([&] {
              chosen({}, {"fc", "layr1"});
            }),
            "prune: exclude 'layr1' names no convolution or linear layer, known: conv1, fc, layer1, layer10, "
            "did you mean 'layer1'?");
  EXPECT_THROW(chosen({"bn1"}, {}), Error);
  EXPECT_THROW(chosen({"fc.weight"}, {}), Error) << "a parameter's name, not its layer's";
}

TEST(NoLayers, HaveNothingToPrune) {
  HandMade model;
  EXPECT_EQ(message_of<Error>([&] { prunable_weights(model); }),
            "prune: nothing to prune, the model has no convolution or linear layer");
}

}  // namespace
}  // namespace espalier
