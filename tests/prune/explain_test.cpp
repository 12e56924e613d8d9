#include "espalier/prune/explain.h"

#include <gtest/gtest.h>

#include "espalier/prune/pruner.h"
#include "prune/zoo.h"

namespace espalier {
namespace {

/// The README's worked example.
struct TwoLayersOfFour {
  HandMade model;
  Parameter& a = model.add("a.weight", {2, 2}, {1, -5, 2, 6});
  Parameter& b = model.add("b.weight", {1, 4}, {-3, 7, 8, 9});
};

PruneOptions explained(PruneOptions options) {
  options.explain = true;
  return options;
}

TEST(LayerScores, AreThoseOfTheReadmesExample) {
  TwoLayersOfFour two;
  const PruneResult result = prune(two.model, any_input, explained({.target = {Target::sparsity, 0.375}}));
  ASSERT_EQ(result.scores.size(), 2u);
  const auto& [a, b] = std::pair(result.scores[0], result.scores[1]);
  EXPECT_EQ(std::tuple(a.min, a.median, a.max), std::tuple(1.0, 3.5, 6.0)) << "of 1 2 5 6";
  EXPECT_EQ(std::tuple(b.min, b.median, b.max), std::tuple(3.0, 7.5, 9.0));
  EXPECT_EQ(a.highest_gone, 2.0);
  EXPECT_EQ(a.lowest_kept, 5.0);
  EXPECT_EQ(b.highest_gone, 3.0);
  EXPECT_EQ(b.lowest_kept, 7.0);
  EXPECT_EQ(a.ranked, b.ranked) << "scope global ranks them against each other";
}

TEST(LayerScores, ArePartOfAResultOnlyWhereThatIsAsked) {
  TwoLayersOfFour two;
  EXPECT_TRUE(prune(two.model, any_input, {.target = {Target::sparsity, 0.375}}).scores.empty());
}

TEST(LayerScores, LeaveOutWhatWasGoneBefore) {
  TwoLayersOfFour two;
  prune(two.model, any_input, {.target = {Target::sparsity, 0.375}});  // 1, 2 and -3
  const PruneResult result = prune(two.model, any_input,
                                   explained({.selection = {.scope = scopes().named("layer")},
                                              .target = {Target::sparsity, 0.75},
                                              .allow_empty = true}));
  EXPECT_EQ(std::tuple(result.scores[0].min, result.scores[0].median, result.scores[0].max),
            std::tuple(5.0, 5.5, 6.0));
  EXPECT_EQ(result.scores[0].highest_gone, 5.0) << "the third of a's four";
  EXPECT_EQ(result.scores[1].highest_gone, 8.0);
  EXPECT_EQ(result.scores[1].lowest_kept, 9.0);
  EXPECT_NE(result.scores[0].ranked, result.scores[1].ranked);
  const PruneResult all =
      prune(two.model, any_input, explained({.target = {Target::sparsity, 1}, .allow_empty = true}));
  EXPECT_FALSE(all.scores[0].lowest_kept);
  const PruneResult none =
      prune(two.model, any_input, explained({.target = {Target::sparsity, 1}, .allow_empty = true}));
  EXPECT_FALSE(none.scores[0].highest_gone || none.scores[0].lowest_kept) << "nothing is left to rank";
  EXPECT_EQ(none.scores[0].median, 0);
}

TEST(LayerScores, AreDividedWhereLayersAreCompared) {
  HandMade model;
  model.add("a.weight", {4, 1}, {1, 2, 3, 4});
  model.add("b.weight", {2, 1}, {100, 200});
  const PruneResult result =
      prune(model, any_input, explained({.unit = Unit::filter, .target = {Target::sparsity, 1.0 / 3}}));
  EXPECT_FLOAT_EQ(static_cast<float>(result.scores[0].max), 1.6f) << "4 over the mean of 2.5";
  EXPECT_FLOAT_EQ(static_cast<float>(result.scores[1].max), 200.0f / 150);
}

TEST(LayerScores, ALimitMayKeepWhatScoresLower) {
  TwoLayersOfFour two;
  PruneOptions options{.target = {Target::sparsity, 0.25}};
  options.selection.limits.max_ratio = 0.25;  // one of each four
  const PruneResult result = prune(two.model, any_input, explained(options));
  EXPECT_EQ(result.scores[0].lowest_kept, 2.0) << "held back by the limit";
  EXPECT_EQ(result.scores[1].highest_gone, 3.0);
}

TEST(LayerScores, OfChannelsAreThoseOfTheirGroups) {
  // The README's example with channels: scores 1.77, 0.68 and 0.55.
  SmallNet net;
  Linear &fc1 = net.linear("fc1", 2, 3), &fc2 = net.linear("fc2", 3, 1);
  net.pass = [&](const Variable& x) { return fc2.forward(relu(fc1.forward(ops::flatten(x)))); };
  const auto set = [&](const char* name, const std::vector<float>& values) {
    std::ranges::copy(values, net.find(name)->value().f32());
  };
  set("fc1.weight", {3, 4, 1, 0, 0, 2});
  set("fc1.bias", {1, 0, 0.5f});
  set("fc2.weight", {1, 3, 2});
  PruneOptions options = cut_channels({Target::ratio, 1.0 / 3});
  options.selection.limits.min_channels = 1;
  const PruneResult result = prune(net, {1, 1, 2}, explained(options));
  ASSERT_EQ(result.scores.size(), 1u);
  EXPECT_NEAR(result.scores[0].min, 12.0 / 22, 1e-6);
  EXPECT_NEAR(result.scores[0].median, 15.0 / 22, 1e-6);
  EXPECT_NEAR(result.scores[0].max, 39.0 / 22, 1e-6);
  EXPECT_NEAR(result.scores[0].highest_gone.value(), 12.0 / 22, 1e-6);
  EXPECT_NEAR(result.scores[0].lowest_kept.value(), 15.0 / 22, 1e-6);
}

using Reasons = std::vector<std::pair<std::string, std::string>>;
Reasons reasons_of(const std::vector<LeftOut>& all) {
  Reasons pairs;
  for (const LeftOut& one : all) pairs.emplace_back(one.layer, one.why);
  return pairs;
}

/// conv1, conv2, fc
struct ThreeInARow {
  SmallNet net;
  Conv2d &conv1 = net.conv("conv1", 1, 4), &conv2 = net.conv("conv2", 4, 4);
  Linear& fc = net.linear("fc", 4 * 4, 2, 4);
  const Shape image{2, 2, 1};
  ThreeInARow() {
    net.pass = [this](const Variable& x) {
      return fc.forward(ops::flatten(relu(conv2.forward(relu(conv1.forward(x))))));
    };
  }
  Reasons why(const Unit& unit, const std::vector<std::string>& include = {},
              const std::vector<std::string>& exclude = {}) {
    return reasons_of(left_out(net, image, unit, include, exclude));
  }
};

TEST(LeftOut, SaysWhy) {
  ThreeInARow three;
  EXPECT_EQ(three.why(Unit::weight), Reasons{});
  EXPECT_EQ(three.why(Unit::weight, {}, {"fc", "conv1"}),
            (Reasons{{"conv1", "exclude has 'conv1'"}, {"fc", "exclude has 'fc'"}}));
  EXPECT_EQ(three.why(Unit::weight, {"conv*"}, {"conv1"}),
            (Reasons{{"conv1", "exclude has 'conv1'"}, {"fc", "include does not name it"}}));
  EXPECT_EQ(three.why(Unit::filter),
            (Reasons{{"fc", "its filters are the network's output, and stay unless include names it"}}));
  EXPECT_EQ(three.why(Unit::filter, {"*"}),
            (Reasons{{"fc", "its filters are the network's output, and stay unless include names it"}}));
  EXPECT_EQ(three.why(Unit::filter, {"fc"}),
            (Reasons{{"conv1", "include does not name it"}, {"conv2", "include does not name it"}}));
  EXPECT_EQ(three.why(Unit::layer),
            (Reasons{{"fc", "it makes the network's output, and stays unless include names it"}}));
  EXPECT_EQ(three.why(Unit::channel), (Reasons{{"fc", "its channels are the network's output"}}));
  EXPECT_EQ(three.why(Unit::channel, {}, {"conv2"}),
            (Reasons{{"conv2", "exclude has 'conv2'"}, {"fc", "its channels are the network's output"}}));
  EXPECT_TRUE(contains(message_of([&] { three.why(Unit::weight, {"conv3"}); }), "include 'conv3' names no"));
}

}  // namespace
}  // namespace espalier
