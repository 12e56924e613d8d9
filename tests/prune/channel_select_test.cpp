#include "espalier/prune/channel_select.h"

#include <gtest/gtest.h>

#include "prune/hand_made.h"

namespace espalier {
namespace {

/// Groups that layers a, b, c ... make, with these scores; nothing reads them.
struct Groups {
  explicit Groups(const std::vector<std::vector<float>>& s) : scores(s) {
    for (size_t g = 0; g < s.size(); ++g) {
      const auto n = static_cast<int64_t>(s[g].size());
      Parameter& weight = model.add(std::string(1, static_cast<char>('a' + g)) + ".weight", {n, 1},
                                    std::vector<float>(s[g].size(), 1.0f));
      groups.push_back({.channels = n, .members = {{&weight, 0, true, {}}}, .fixed = ""});
      whole.push_back(n);
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

  ChannelVerdicts select(int64_t count, ChannelSelection selection) const {
    return ChannelRanking(groups, scores, whole, selection).select(count);
  }

  /// How many channels of each group stay.
  std::vector<int64_t> left(int64_t count, const ChannelSelection& selection) const {
    std::vector<int64_t> left;
    for (const auto& verdicts : select(count, selection))
      left.push_back(std::count(verdicts.begin(), verdicts.end(), 1));
    return left;
  }

  HandMade model;
  std::vector<std::vector<float>> scores;
  std::vector<ChannelGroup> groups;
  std::vector<int64_t> whole;
};

ChannelSelection of(Scope scope, int64_t min_channels = 1) {
  return {.scope = scope, .limits = {.min_channels = min_channels}};
}

using V = ChannelVerdicts;

TEST(ChannelSelect, ScopeSaysWhoIsRankedAgainstWhom) {
  const Groups groups({{1, 2, 3, 4}, {10, 20, 30, 40}});
  EXPECT_EQ(groups.select(4, of(Scope::layer)), (V{{0, 0, 1, 1}, {0, 0, 1, 1}}));
  EXPECT_EQ(groups.select(3, of(Scope::global)), (V{{0, 0, 0, 1}, {1, 1, 1, 1}}));
  EXPECT_EQ(groups.select(0, of(Scope::global)), (V{{1, 1, 1, 1}, {1, 1, 1, 1}}));
}

TEST(ChannelSelect, IsomorphicRanksLikeWithLike) {
  Groups groups({{1, 2}, {3, 4}, {0, 9}});
  Parameter& other = groups.model.add("other.weight", {2, 3, 3, 1}, std::vector<float>(18, 1.0f));
  groups.groups[2].members[0].parameter = &other;  // a convolution among linear layers
  EXPECT_EQ(groups.select(3, of(Scope::isomorphic)), (V{{0, 1}, {0, 1}, {0, 1}}));  // 1 and 2 of 4, 0 of 2
  EXPECT_EQ(groups.select(2, of(Scope::isomorphic)), (V{{0, 1}, {1, 1}, {0, 1}}));
}

TEST(ChannelSelect, AmongEqualsTheLowerGroupAndIndexGoFirst) {
  const Groups groups({{7, 7, 7}, {7, 7, 7}});
  EXPECT_EQ(groups.select(1, of(Scope::global)), (V{{0, 1, 1}, {1, 1, 1}}));
  EXPECT_EQ(groups.select(3, of(Scope::global)), (V{{0, 0, 1}, {0, 1, 1}}));  // at its least, the next
  EXPECT_EQ(groups.select(2, of(Scope::layer)), (V{{0, 1, 1}, {0, 1, 1}}));
}

TEST(ChannelSelect, NoGroupFallsUnderItsLeastWidthAndThatIsSaid) {
  const Groups groups({{1, 2, 3, 4}, {10, 20, 30, 40}});
  const ChannelRanking ranking(groups.groups, groups.scores, groups.whole, of(Scope::global, 3));
  EXPECT_EQ(ranking.select(2), (V{{0, 1, 1, 1}, {0, 1, 1, 1}}));
  EXPECT_EQ(ranking.select(8), (V{{0, 1, 1, 1}, {0, 1, 1, 1}})) << "all that may go";
  const auto held = ranking.held(2);
  ASSERT_EQ(held.size(), 1u);
  EXPECT_EQ(held[0].layer, "a");
  EXPECT_EQ(held[0].channels, 4);
  EXPECT_EQ(held[0].kept, 3);
  EXPECT_EQ(held[0].wanted, 2);
}

TEST(ChannelSelect, TheLeastWidthIsEightOrATenthUnlessSaid) {
  const Groups groups({std::vector<float>(20, 1), std::vector<float>(200, 1), std::vector<float>(5, 1)});
  ChannelSelection selection;
  const auto kept = [&](int64_t count) { return groups.left(count, selection); };
  EXPECT_EQ(kept(225), (std::vector<int64_t>{8, 20, 5}));
  selection.limits.max_ratio = 0.5;
  EXPECT_EQ(kept(225), (std::vector<int64_t>{10, 100, 5}));
  selection.overrides = {{{"a"}, {.min_channels = 2}}};
  EXPECT_EQ(kept(225), (std::vector<int64_t>{2, 100, 5}));
  selection.limits = {.min_channels = 1, .min_ratio = 0.25};
  EXPECT_EQ(kept(0), (std::vector<int64_t>{20, 150, 4})) << "the last counts, which says nothing of a ratio";
}

TEST(ChannelSelect, WhatStaysIsRoundedDownOrUpToTheLeastWidth) {
  const Groups groups({{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, {20, 21, 22, 23, 24, 25}});
  ChannelSelection selection = of(Scope::global);
  selection.round_to = 4;
  EXPECT_EQ(groups.select(1, selection), (V{{0, 0, 1, 1, 1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1}}));
  EXPECT_EQ(groups.select(3, selection), (V{{0, 0, 0, 0, 0, 0, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1}}));
  selection.limits.min_channels = 5;  // 8, as a multiple
  EXPECT_EQ(groups.select(9, selection), (V{{0, 0, 1, 1, 1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1}}));
}

TEST(ChannelSelect, WhatGoesInAnyCaseIsPartOfWhatIsAskedFor) {
  const Groups groups({{1, 2, 3, 4}, {10, 20, 30, 40}, {11, 21, 31, 41}});
  ChannelSelection selection = of(Scope::global);
  selection.overrides = {{{"b"}, {.min_channels = 1, .min_ratio = 0.75}}};
  EXPECT_EQ(groups.select(0, selection), (V{{1, 1, 1, 1}, {0, 0, 0, 1}, {1, 1, 1, 1}}));
  EXPECT_EQ(groups.select(2, selection), groups.select(0, selection)) << "three go in any case";
  EXPECT_EQ(groups.select(4, selection), (V{{0, 1, 1, 1}, {0, 0, 0, 1}, {1, 1, 1, 1}}));
  EXPECT_EQ(groups.select(7, selection), (V{{0, 0, 0, 1}, {0, 0, 0, 1}, {0, 1, 1, 1}}));
  selection.scope = Scope::layer;
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

TEST(ChannelSelect, LeastWidthsAreOfRealChannels) {
  const Grouped groups;
  const auto left = [&](ChannelSelection selection) { return groups.left(66, selection); };
  // The least of 128, 64 and 320 is 13, 8 and 32, no more than one channel of the group is; of 60 it is 8,
  // three channels of 3.
  EXPECT_EQ(left({}), (std::vector<int64_t>{1, 1, 1, 3, 8}));
  EXPECT_EQ(left(of(Scope::global, 32)), (std::vector<int64_t>{1, 1, 1, 11, 30}));
  EXPECT_EQ(left(of(Scope::global, 33)), (std::vector<int64_t>{2, 2, 2, 11, 30}));
  EXPECT_EQ(left(of(Scope::global, 97)), (std::vector<int64_t>{4, 2, 4, 20, 30})) << "33 of 20: all";
  ChannelSelection selection;
  selection.limits.max_ratio = 0.5;  // of the group's channels
  EXPECT_EQ(left(selection), (std::vector<int64_t>{2, 1, 5, 10, 15}));
}

TEST(ChannelSelect, MultiplesAreOfRealChannels) {
  Grouped groups;
  ChannelSelection selection = of(Scope::layer);
  selection.round_to = 8;  // 32 is one already; of threes 8 make the first, 24
  EXPECT_EQ(groups.left(33, selection), (std::vector<int64_t>{2, 1, 5, 8, 8})) << "10 and 15, rounded down";
  selection.limits.min_channels = 25;  // 9 threes, so 16 of them
  EXPECT_EQ(groups.left(66, selection), (std::vector<int64_t>{1, 1, 1, 16, 30})) << "32 of 30: all";
  selection = of(Scope::layer);
  selection.round_to = 128;
  EXPECT_EQ(groups.left(33, selection), (std::vector<int64_t>{4, 2, 4, 20, 30}));
  groups.set_multiplicity(3, 6);  // 6 and 8 have 2 in common: 4 of them, 24
  selection.round_to = 8;
  EXPECT_EQ(groups.left(20, selection), (std::vector<int64_t>{3, 1, 7, 12, 16})) << "14 and 21, rounded down";
}

TEST(ChannelSelect, CountsAreOfTheWholeNetwork) {
  Groups groups({{1, 2, 3, 4}, {10, 20, 30, 40}});
  groups.whole = {6, 4};  // two of the first are gone
  EXPECT_EQ(groups.select(2, of(Scope::global)), (V{{1, 1, 1, 1}, {1, 1, 1, 1}}));
  EXPECT_EQ(groups.select(3, of(Scope::global)), (V{{0, 1, 1, 1}, {1, 1, 1, 1}}));
  EXPECT_EQ(groups.select(5, of(Scope::layer)), (V{{0, 1, 1, 1}, {0, 0, 1, 1}}));  // 3 of 6, 2 of 4
  const auto held = ChannelRanking(groups.groups, groups.scores, groups.whole, of(Scope::layer, 4)).held(5);
  ASSERT_EQ(held.size(), 2u);
  EXPECT_EQ(held[0].channels, 6);
  EXPECT_EQ(held[0].kept, 4);
  EXPECT_EQ(held[0].wanted, 3);
}

TEST(ChannelSelect, WhatIsFixedExcludedOrNotIncludedStays) {
  Groups groups({{1, 2}, {3, 4}, {5, 6}});
  groups.groups[2].fixed = "the network's output";
  ChannelSelection selection = of(Scope::layer);
  selection.exclude = {"a"};
  EXPECT_EQ(groups.select(1, selection), (V{{1, 1}, {0, 1}, {1, 1}}));
  selection.exclude = {};
  selection.include = {"a"};
  EXPECT_EQ(groups.select(1, selection), (V{{0, 1}, {1, 1}, {1, 1}}));
  const auto message = [&] { return message_of<Error>([&] { groups.select(1, selection); }); };
  selection.include = {"c"};
  EXPECT_EQ(message(), "prune: include 'c': its channels are the network's output and stay");
  selection.include = {"d"};
  EXPECT_EQ(message(),
            "prune: include 'd' names no convolution or linear layer, known: a, b, c, did you mean "
            "'a'?");
  selection.include = {};
  selection.exclude = {"a", "b"};
  EXPECT_EQ(message(),
            "prune: no channels may go: all but the network's input and output are left out by include and "
            "exclude");
}

/// Layers a and b side by side, 4 and 6 channels, which c reads channel by channel and makes anew; d reads
/// the last two alone.
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

  std::vector<uint8_t> select(int64_t count, const ChannelSelection& selection,
                              const std::map<std::string, int64_t>& whole_parts = {}) const {
    const std::vector<ChannelGroup> groups{group};
    int64_t whole = 10;
    for (const auto& [maker, channels] : whole_parts) whole += channels - (maker == "a" ? 4 : 6);
    return ChannelRanking(groups, {{1, 2, 3, 4, 9, 10, 8, 7, 5, 6}}, {whole}, selection, whole_parts)
        .select(count)[0];
  }

  HandMade model;
  ChannelGroup group{.channels = 10, .members = {}, .fixed = ""};
};

using Verdicts = std::vector<uint8_t>;

TEST(ChannelSelect, OfLayersSideBySideNoneIsEmptied) {
  const SideBySide layers;
  EXPECT_EQ(layers.select(5, of(Scope::global)), (Verdicts{0, 0, 0, 1, 1, 1, 1, 0, 0, 1}))
      << "the next in line goes instead of a's last";
  EXPECT_EQ(layers.select(9, of(Scope::global)), (Verdicts{0, 0, 0, 1, 0, 0, 0, 0, 0, 1}))
      << "of what d reads one stays";
}

TEST(ChannelSelect, LimitsHoldForEachLayerSideBySide) {
  const SideBySide layers;
  EXPECT_EQ(layers.select(10, of(Scope::global, 3)), (Verdicts{0, 1, 1, 1, 1, 1, 0, 0, 0, 1}));
  ChannelSelection selection = of(Scope::global);
  selection.limits.max_ratio = 0.5;
  EXPECT_EQ(layers.select(10, selection), (Verdicts{0, 0, 1, 1, 1, 1, 0, 0, 0, 1})) << "2 of 4, 3 of 6";
  EXPECT_EQ(layers.select(10, selection, {{"a", 8}, {"b", 6}}), (Verdicts{1, 1, 1, 1, 1, 1, 0, 0, 0, 1}))
      << "half of a is gone";
  selection.limits = {.min_channels = 1, .min_ratio = 0.5};
  EXPECT_EQ(layers.select(0, selection), (Verdicts{0, 0, 1, 1, 1, 1, 0, 0, 0, 1}))
      << "2 of 4 and 3 of 6 in any case, and so 5 of 10";
  selection = of(Scope::global);
  selection.overrides = {{{"b"}, {.min_channels = 5}}, {{"c"}, {.min_channels = 7}}};
  EXPECT_EQ(layers.select(10, selection), (Verdicts{0, 0, 0, 1, 1, 1, 1, 1, 1, 1})) << "7 of all ten";
}

TEST(ChannelSelect, LayersSideBySideAreRoundedEachAndTheirSumWithThem) {
  const SideBySide layers;
  ChannelSelection selection = of(Scope::global);
  selection.round_to = 2;
  EXPECT_EQ(layers.select(1, selection), (Verdicts{0, 0, 1, 1, 1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(layers.select(5, selection), (Verdicts{0, 0, 1, 1, 0, 1, 0, 0, 0, 1}))
      << "of b 3 would be left; the last that d reads stays, and the next goes";
  selection.round_to = 3;  // a has no more than one three, and then c
  EXPECT_EQ(layers.select(1, selection), (Verdicts{0, 1, 1, 1, 1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(layers.select(3, selection), (Verdicts{0, 1, 1, 1, 1, 1, 0, 0, 0, 1}));
}

TEST(ChannelSelect, RoundedUpWhereALimitOfAllHoldsWhatIsSideBySide) {
  const SideBySide layers;
  ChannelSelection selection = of(Scope::global);
  selection.round_to = 2;
  selection.overrides = {{{"c"}, {.min_channels = 8}}};
  const std::vector<ChannelGroup> groups{layers.group};
  // One of a goes and one of b. Of c's 8 no more may, so that a's comes back; then another of b may.
  EXPECT_EQ(ChannelRanking(groups, {{1, 3, 4, 5, 2, 6, 7, 8, 9, 10}}, {10}, selection).select(2)[0],
            (Verdicts{1, 1, 1, 1, 0, 0, 1, 1, 1, 1}));
}

}  // namespace
}  // namespace espalier
