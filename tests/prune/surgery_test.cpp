#include "espalier/prune/surgery.h"

#include <gtest/gtest.h>

#include "espalier/core/random.h"
#include "espalier/nn/models/models.h"
#include "espalier/prune/channel_select.h"
#include "espalier/prune/target.h"
#include "prune/hand_made.h"
#include "prune/small_net.h"

namespace espalier {
namespace {

/// A selection from scores of which many tie: its scope, limits and size are of the seed.
struct RandomSelection {
  RandomSelection(const std::vector<ChannelGroup>& groups, uint64_t seed) {
    std::vector<std::vector<float>> scores;
    for (const ChannelGroup& group : groups) {
      whole.push_back(group.channels);
      for (std::vector<float>& of_group = scores.emplace_back();
           static_cast<int64_t>(of_group.size()) < group.channels;)
        of_group.push_back(static_cast<float>(random_below(seed, of_group.size() + 1000 * scores.size(), 8)));
    }
    selection.scope = static_cast<Scope>(seed % 3);
    selection.limits.min_channels = 1 + static_cast<int64_t>(seed % 5);
    selection.round_to = seed % 4 == 3 ? 2 : 1;
    const ChannelRanking ranking(groups, scores, whole, selection);
    count = 1 + random_below(seed, 0, ranking.channels() * 3 / 4);
    kept = ranking.select(count);
    for (size_t g = 0; g < groups.size(); ++g)
      if (ranking.ranked(g)) ranked.push_back(g);
  }

  /// Counts, widths and multiples are what was asked for.
  void check() const {
    int64_t gone = 0, free = 0;
    for (const size_t g : ranked) {
      const int64_t left = std::ranges::count(kept[g], 1), n = whole[g];
      const int64_t least = std::min(n, (*selection.limits.min_channels + selection.round_to - 1) /
                                            selection.round_to * selection.round_to);
      EXPECT_GE(left, least);
      if (left < n) {
        EXPECT_EQ(left % selection.round_to, 0);
      }
      gone += n - left;
      free += n - least;
    }
    if (selection.scope == Scope::global && selection.round_to == 1) {
      EXPECT_EQ(gone, std::min(count, free));
    }
  }

  ChannelSelection selection;
  std::vector<int64_t> whole;
  std::vector<size_t> ranked;
  int64_t count = 0;
  ChannelVerdicts kept;
};

/// How far the outputs of images are apart, relative to the largest: a network that says the same to all
/// would pass any comparison.
double spread(const Doubles& y) {
  double largest = 0, apart = 0;
  const size_t row = y.size() / 4;
  for (const double v : y) largest = std::max(largest, std::abs(v));
  for (size_t i = 0; i < row; ++i) apart = std::max(apart, std::abs(y[i] - y[row + i]));
  return apart / largest;
}

/// The invariants, for random selections: counts are exact under ties, no group falls under its least width,
/// cutting equals masking, MACs and parameters are as counted before, and the history makes the same network,
/// bit for bit, of a fresh one.
template <class Make>
void check_cuts(const Make& make, const Shape& input, int seeds, double tolerance) {
  for (int seed = 0; seed < seeds; ++seed) {
    SCOPED_TRACE(seed);
    const auto model = make(), fresh = make();
    for (Module* one : {model.get(), fresh.get()}) randomize(*one, static_cast<uint64_t>(seed) * 1000);
    const Network network(*model, input);
    const auto groups = channel_graph(*model, network.tape).groups;
    const RandomSelection selected(groups, static_cast<uint64_t>(seed));
    selected.check();
    const auto cuts = cuts_of(groups, selected.kept);
    const NetworkCost counted = CostModel(*model, network.tape).after(cuts);
    for (Module* one : {model.get(), fresh.get()}) {
      zero_channels(channel_graph(*one, Network(*one, input).tape).groups, selected.kept);
      take_statistics(*one, input);
    }
    const Doubles masked = outputs(*model, input);
    ASSERT_GT(spread(masked), 0.01);
    cut(*model, cuts);
    const Doubles after = outputs(*model, input);
    ASSERT_EQ(after.size(), masked.size());
    double largest = 0, difference = 0;
    for (size_t i = 0; i < after.size(); ++i) {
      largest = std::max(largest, std::abs(masked[i]));
      difference = std::max(difference, std::abs(masked[i] - after[i]));
    }
    EXPECT_LE(difference, tolerance * largest);
    cut(*fresh, cuts);
    EXPECT_EQ(outputs(*fresh, input), after) << "replayed on a fresh model";
    const NetworkTotals recount = Network(*model, input).totals;
    EXPECT_EQ(recount.macs, counted.macs);
    EXPECT_EQ(recount.parameters, counted.parameters);
    EXPECT_EQ(recount.bytes, counted.bytes);
    EXPECT_EQ(recount.macs < network.totals.macs, !cuts.empty());
  }
}

std::unique_ptr<Module> zoo(const char* type, const Shape& input) {
  return make_model({.type = type, .input = input, .classes = 10, .width = 0.25}, 0);
}

TEST(Surgery, CuttingEqualsMasking) {
  const Shape input{16, 16, 3};
  for (const char* type : {"vgg19", "resnet20", "resnet50"}) {
    SCOPED_TRACE(type);
    check_cuts([&] { return zoo(type, input); }, input, 50, 1e-3);
  }
}

/// Grouped, depthwise, concatenated, sliced, flattened, and a layer used twice.
std::unique_ptr<Module> tangled() {
  auto net = std::make_unique<SmallNet>();
  Conv2d &stem = net->conv("stem", 3, 12), &grouped = net->conv("grouped", 12, 8, 4, false),
         &depthwise = net->conv("depthwise", 8, 16, 8), &twice = net->conv("twice", 28, 28),
         &last = net->conv("last", 14, 6);
  BatchNorm2d& norm = net->norm("norm", 8);
  Linear &fc1 = net->linear("fc1", 6 * 9, 24, 9), &fc2 = net->linear("fc2", 24, 5);
  net->pass = [&](const Variable& x) {
    const Variable a = relu(stem.forward(x)),
                   b = depthwise.forward(grouped.forward(a, norm, Activation::relu));
    const Variable joined = ops::concat({a, b}), again = twice.forward(relu(twice.forward(joined)));
    const Variable halves = ops::add(ops::slice(again, 0, 14), ops::slice(again, 14, 14));
    return fc2.forward(relu(fc1.forward(ops::flatten(ops::max_pool2d(last.forward(halves), 2)))));
  };
  return net;
}

TEST(Surgery, CuttingEqualsMaskingInATangledNetwork) {
  check_cuts([] { return tangled(); }, {6, 6, 3}, 50, 1e-5);
}

TEST(Surgery, CutsAllThatGoesWithAChannel) {
  SmallNet net;
  Conv2d& a = net.conv("a", 1, 3);
  BatchNorm2d& n = net.norm("n", 3);
  Linear& fc = net.linear("fc", 6, 2, 2);
  net.pass = [&](const Variable& x) { return fc.forward(ops::flatten(a.forward(x, n, Activation::relu))); };
  Parameter &w = *net.find("fc.weight"), &gamma = *net.find("n.weight"), &mean = *net.find("n.running_mean");
  w.value() = Tensor::from({2, 6}, Floats{0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15});
  w.gradient() = Tensor::from({2, 6}, Floats{0, -1, -2, -3, -4, -5, 0, 1, 0, 1, 0, 1});
  w.mask = Tensor::from({2, 6}, std::vector<uint8_t>{1, 0, 1, 1, 0, 1, 0, 1, 0, 1, 0, 1});
  w.average = Tensor::from({2, 6}, Floats{5, 4, 3, 2, 1, 0, 5, 4, 3, 2, 1, 0});
  w.slots = {Tensor::from({2, 6}, Floats{6, 5, 4, 3, 2, 1, 6, 5, 4, 3, 2, 1})};
  gamma.value() = Tensor::from({3}, Floats{7, 8, 9});
  mean.value() = Tensor::from({3}, Floats{4, 5, 6});
  const Network network(net, {1, 2, 1});
  const auto groups = channel_graph(net, network.tape).groups;
  const auto cuts = cuts_of(groups, {{1, 0, 1}, {1, 1}});
  cut(net, cuts);
  EXPECT_EQ(numbers(w.value()), (std::vector<float>{0, 2, 3, 5, 10, 12, 13, 15}));
  EXPECT_EQ(numbers(w.gradient()), (std::vector<float>{0, -2, -3, -5, 0, 0, 1, 1}));
  EXPECT_EQ(flags(w.mask), (std::vector<int>{1, 1, 1, 1, 0, 0, 1, 1}));
  EXPECT_EQ(numbers(w.average), (std::vector<float>{5, 3, 2, 0, 5, 3, 2, 0}));
  EXPECT_EQ(numbers(w.slots[0]), (std::vector<float>{6, 4, 3, 1, 6, 4, 3, 1}));
  EXPECT_EQ(numbers(gamma.value()), (std::vector<float>{7, 9}));
  EXPECT_EQ(numbers(mean.value()), (std::vector<float>{4, 6}));
  EXPECT_EQ(net.find("a.weight")->shape(), (Shape{2, 3, 3, 1}));
  EXPECT_EQ(cuts.front(), (AxisCut{"a.weight", 0, 3, {0, 2}}));
  EXPECT_EQ(cuts.back(), (AxisCut{"fc.weight", 1, 6, {0, 2, 3, 5}}));
}

TEST(Surgery, RefusesWhatDoesNotFitAndLeavesAllAsItWas) {
  SmallNet net;
  Conv2d &a = net.conv("a", 3, 4), &b = net.conv("b", 4, 2);
  net.pass = [&](const Variable& x) { return b.forward(a.forward(x)); };
  const Network network(net, {5, 5, 3});
  const auto groups = channel_graph(net, network.tape).groups;
  const auto message = [](auto action) { return message_of<Error>(action); };
  EXPECT_EQ(message([&] {
              cuts_of(groups, {{0, 0, 0, 0}, {1, 1}});
            }),
            "surgery: nothing would be left of a.weight");
  EXPECT_EQ(message([&] {
              cuts_of(groups, {{1, 1, 1, 1}, {1, 0}});
            }),
            "surgery: the channels of b.weight are the network's output and stay");
  const AxisCut good{"a.weight", 0, 4, {0, 1}};
  EXPECT_EQ(message([&] {
              cut(net, {good, {"c.weight", 0, 4, {0}}});
            }),
            "surgery: the model has no parameter c.weight: the cut was made for another model");
  EXPECT_EQ(message([&] {
              cut(net, {good, {"b.weight", 3, 8, {0}}});
            }),
            "surgery: b.weight is [2, 3, 3, 4], expected 8 along axis 3: the cut was made for another model");
  EXPECT_EQ(message([&] {
              cut(net, {good, {"b.weight", 3, 4, {2, 1}}});
            }),
            "surgery: the indices to keep of b.weight are not ascending in 0..3");
  EXPECT_EQ(net.find("a.weight")->shape(), (Shape{4, 3, 3, 3})) << "nothing half cut";
}

}  // namespace
}  // namespace espalier
