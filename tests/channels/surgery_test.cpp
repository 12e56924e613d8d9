#include "espalier/channels/surgery.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <cstring>
#include <fstream>
#include <map>
#include <set>

#include "espalier/core/random.h"
#include "espalier/nn/graph_module.h"
#include "espalier/nn/models/models.h"
#include "espalier/nn/state_dict.h"
#include "espalier/prune/pruner.h"
#include "espalier/prune/target.h"
#include "prune/hand_made.h"
#include "prune/small_net.h"

namespace espalier {
namespace {

/// A selection from scores of which many tie: its scope, limits and size are of the seed.
struct RandomSelection {
  RandomSelection(Module& model, const Shape& input, uint64_t seed, int64_t least) {
    const UnitSet units = units_of(model, input, Unit::channel, {}, {});
    std::vector<float> scores;
    for (const UnitGroup& group : units.groups) {
      ranked.push_back(group.channel_group);
      for (int64_t c = 0; c < group.count; ++c)
        scores.push_back(static_cast<float>(
            random_below(seed, static_cast<uint64_t>(c) + 1000 * (group.channel_group + 1), 8)));
    }
    for (const ChannelGroup& group : units.channels->graph.groups) {
      channels.push_back(group.channels);
      multiplicity.push_back(group.multiplicity);
    }
    selection.scope = scopes().named(std::vector<std::string>{"layer", "global", "isomorphic"}[seed % 3]);
    selection.limits.min_channels = least + static_cast<int64_t>(seed % 5);
    selection.round_to = seed % 4 == 3 ? 2 : 1;
    const Ranking ranking(units, Tensor::from({units.count}, scores), selection);
    count = 1 + random_below(seed, 0, ranking.units() * 3 / 4);
    const double share = static_cast<double>(count) / static_cast<double>(ranking.units());
    kept = units.verdicts(ranking.select({Cut::share, share}));
  }

  /// Counts, widths and multiples are what was asked for.
  void check() const {
    int64_t gone = 0, free = 0;
    for (const size_t g : ranked) {
      const int64_t left = std::ranges::count(kept[g], 1), n = channels[g];
      int64_t least = 1;  // counted up to, in real channels
      const auto multiple = [&](int64_t channels) {
        return channels * multiplicity[g] % selection.round_to == 0;
      };
      while (least < n && (least * multiplicity[g] < *selection.limits.min_channels || !multiple(least)))
        ++least;
      EXPECT_GE(left, least);
      if (left < n) {
        EXPECT_TRUE(multiple(left)) << left << " x " << multiplicity[g];
      }
      gone += n - left;
      free += n - least;
    }
    if (selection.scope.ranked == Scope::all && selection.round_to == 1) {
      EXPECT_EQ(gone, std::min(count, free));
    }
  }

  Selection selection;
  std::vector<int64_t> channels, multiplicity;
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

/// How many channels each layer makes that may lose some.
std::map<std::string, int64_t> widths(Module& model, const std::vector<ChannelGroup>& groups) {
  std::map<std::string, int64_t> widths;
  for (const ChannelGroup& group : groups)
    if (group.fixed.empty())
      for (const std::string& maker : makers_of(group))
        widths[maker] = model.find(maker + ".weight")->shape()[0];
  return widths;
}

/// Where no norm does it, what an image says is kept above what the biases say.
void randomize_loudly(Module& model, uint64_t seed) {
  randomize(model, seed);
  if (!batch_norms(model).empty()) return;
  for (Parameter* parameter : model.parameters())
    for (float& number : parameter->value().span<float>())
      number = parameter->role == Role::weight ? 2 * number : std::abs(number);  // few are dead after relu
}

using NameSet = std::set<std::string>;

/// Cuts what the seed says of `model`, and the same of its twin, which keeps its numbers as they were.
void check_cut(Module& model, Module& twin, const Shape& input, uint64_t seed, double tolerance,
               int64_t least) {
  const Network network(model, input);
  const auto groups = channel_graph(model, network.graph).groups;
  const RandomSelection selected(model, input, seed, least);
  selected.check();
  const auto cuts = cuts_of(groups, selected.kept);
  const NetworkCost counted = CostModel(model, network.graph).after(cuts);
  zero_channels(groups, selected.kept);
  take_statistics(model, input);
  const Doubles masked = outputs(model, input);
  ASSERT_GT(spread(masked), 10 * tolerance);
  cut(model, cuts);
  cut(twin, cuts);
  const Doubles after = outputs(model, input);
  ASSERT_EQ(after.size(), masked.size());
  double largest = 0, difference = 0;
  for (size_t i = 0; i < after.size(); ++i) {
    largest = std::max(largest, std::abs(masked[i]));
    difference = std::max(difference, std::abs(masked[i] - after[i]));
  }
  EXPECT_LE(difference, tolerance * largest);
  const NetworkTotals recount = Network(model, input).totals;
  EXPECT_EQ(recount.macs, counted.macs);
  EXPECT_EQ(recount.parameters, counted.parameters);
  EXPECT_EQ(recount.bytes, counted.bytes);
  EXPECT_EQ(recount.macs < network.totals.macs, !cuts.empty());
}

/// That both are the same to the bit.
void check_same(Module& one, Module& other, const Shape& input) {
  EXPECT_EQ(one.history, other.history);
  const auto ours = one.parameters(), theirs = other.parameters();
  ASSERT_EQ(ours.size(), theirs.size());
  for (size_t i = 0; i < ours.size(); ++i) {
    const Tensor &a = ours[i]->value(), &b = theirs[i]->value();
    ASSERT_EQ(a.shape(), b.shape()) << ours[i]->name;
    EXPECT_EQ(std::memcmp(a.raw(), b.raw(), a.bytes()), 0) << ours[i]->name;
  }
  EXPECT_EQ(outputs(one, input), outputs(other, input));
}

/// A step against the gradients makes the loss smaller, in training mode.
void check_trains_on(Module& model, const Shape& input) {
  model.set_training(true);
  const Variable images(random_tensor({6, input[0], input[1], input[2]}, 5));
  const Tensor labels = Tensor::from({6}, std::vector<int32_t>{0, 1, 2, 3, 4, 0});
  const auto loss = [&] { return ops::softmax_cross_entropy(model.forward(images), labels).loss; };
  const Variable before = loss();
  before.backward();
  double squares = 0;
  const auto with_gradients = [&](const auto& visit) {
    for (Parameter* parameter : model.parameters()) {
      if (!parameter->learned()) continue;
      ASSERT_EQ(parameter->gradient().shape(), parameter->shape()) << parameter->name;
      for (int64_t i = 0; i < parameter->value().elements(); ++i)
        visit(parameter->value().f32()[i], parameter->gradient().f32()[i]);
    }
  };
  with_gradients([&](float, float g) { squares += double{g} * g; });
  const auto rate =
      static_cast<float>(0.01 * before.value().item() / squares);  // a hundredth less, if straight
  with_gradients([&](float& w, float g) { w -= rate * g; });
  const double after = loss().value().item();
  EXPECT_LT(after, before.value().item());
  for (Parameter* parameter : model.parameters()) parameter->variable.clear_gradient();
}

/// The invariants, for random selections, of every other seed two in turn: counts are exact under ties, no
/// group falls under its least width, cutting equals masking, MACs and parameters are as counted before, and
/// the history makes the same network, bit for bit, of a fresh one. Every layer that may lose channels must
/// for some seed, or nothing is proven of it; which they were.
template <class Make>
NameSet check_cuts(const Make& make, const Shape& input, int seeds, double tolerance, int64_t least = 1) {
  NameSet may, lost;
  for (int seed = 0; seed < seeds; ++seed) {
    SCOPED_TRACE(seed);
    const auto model = make(), twin = make(), fresh = make();
    for (Module* one : {model.get(), twin.get(), fresh.get()})
      randomize_loudly(*one, static_cast<uint64_t>(seed) * 1000);
    const auto before = widths(*model, channel_graph(*model, Network(*model, input).graph).groups);
    for (const int one : seed % 4 == 1 ? std::vector{seed, seed + seeds} : std::vector{seed})
      check_cut(*model, *twin, input, static_cast<uint64_t>(one), tolerance, least);
    if (testing::Test::HasFatalFailure()) break;
    cut(*fresh, model->history);
    check_same(*fresh, *twin, input);
    for (Module* one : {model.get(), fresh.get()}) take_statistics(*one, input);
    check_same(*fresh, *model, input);  // the zeros are gone
    if (seed % 10 == 0) check_trains_on(*fresh, input);
    for (const auto& [maker, width] : before) {
      may.insert(maker);
      if (model->find(maker + ".weight")->shape()[0] < width) lost.insert(maker);
    }
  }
  EXPECT_EQ(lost, may);
  return lost;
}

/// How a model is tried; the rest of the catalogue as Narrow says.
struct Narrow {
  double width = 0.25;
  int64_t side = 16;
  double tolerance = 1e-3;
  int64_t least = 1;  ///< channels: one that is dead after relu ends a way that nothing goes around
};
const std::map<std::string, Narrow> narrow{{"vgg19", {.width = 0.125}},
                                           {"resnet50", {.width = 0.125, .side = 8}},
                                           {"squeezenet", {.width = 0.5, .tolerance = 1e-5, .least = 4}},
                                           {"densenet121", {.width = 0.125, .side = 8}},
                                           {"vit", {.width = 0.125, .side = 8}}};
/// Of the same layers as another one, vgg19, resnet20 or resnet50, or tried by `grouped` and `joined` below.
const std::set<std::string> alike{"mlp",      "lenet300", "lenet5",    "vgg11",    "vgg13",
                                  "vgg16",    "resnet32", "resnet44",  "resnet56", "resnet110",
                                  "resnet18", "resnet34", "resnet101", "resnet152"};

class EveryModel : public testing::TestWithParam<std::string> {
 protected:
  const Narrow how = narrow.contains(GetParam()) ? narrow.at(GetParam()) : Narrow();
  const ModelOptions options{
      .type = GetParam(), .input = {how.side, how.side, 3}, .classes = 10, .width = how.width};
};

TEST_P(EveryModel, CuttingEqualsMasking) {
  check_cuts([&] { return make_model(options, 0); }, options.input, 50, how.tolerance, how.least);
}

/// By the criterion that recipes take, with a proof.
PruneOptions half_of_the_macs(const Shape& input, int64_t least, uint64_t images) {
  PruneOptions half = cut_channels({Target::speedup, 2});
  half.scoring.criterion = criteria().named("group_norm");
  half.selection.limits.min_channels = least;
  half.verify = random_tensor({4, input[0], input[1], input[2]}, images);
  return half;
}

TEST_P(EveryModel, CutToHalfItsMacsIsTheMaskedOneAndTrainsOn) {
  int told = 0;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SCOPED_TRACE(seed);
    const auto model = make_model(options, 0);
    randomize_loudly(*model, seed * 1000);
    take_statistics(*model, options.input);
    const auto cut = prune(*model, options.input, half_of_the_macs(options.input, how.least, seed));
    EXPECT_LE(2 * cut.after.macs, cut.before.macs);
    EXPECT_EQ(Network(*model, options.input).totals.macs, cut.after.macs);
    EXPECT_LE(cut.proof.value().share(), how.tolerance);
    if (!cut.proof->says_something()) continue;
    ++told;
    if (seed % 10 == 0) check_trains_on(*model, options.input);
  }
  EXPECT_GE(told, 45) << "seeds that prove something";
}

/// The network that only a graph describes loses the same channels.
template <class Make>
void check_cut_alike_as_a_graph(const Make& make, const Shape& input, int64_t least) {
  const auto model = make();
  randomize_loudly(*model, 7);
  take_statistics(*model, input);
  GraphModule graph(Network(*model, input).graph, state_dict(*model));
  load_state_dict(graph, state_dict(*model), "the model");
  const PruneOptions half = half_of_the_macs(input, least, 7);
  for (Module* one : std::initializer_list<Module*>{model.get(), &graph}) {
    const auto cut = prune(*one, input, half);
    EXPECT_TRUE(cut.proof.value().holds());
    EXPECT_LE(2 * cut.after.macs, cut.before.macs);
    take_statistics(*one, input);
  }
  const auto ours = state_dict(graph), expected = state_dict(*model);
  ASSERT_EQ(ours.size(), expected.size());
  for (size_t i = 0; i < ours.size(); ++i) {
    EXPECT_EQ(ours[i].first, expected[i].first);
    ASSERT_EQ(ours[i].second.shape(), expected[i].second.shape()) << ours[i].first;
    EXPECT_EQ(std::memcmp(ours[i].second.raw(), expected[i].second.raw(), ours[i].second.bytes()), 0)
        << ours[i].first;
  }
  EXPECT_EQ(outputs(graph, input), outputs(*model, input));
  check_trains_on(graph, input);
}
TEST_P(EveryModel, IsCutAlikeAsAGraph) {
  check_cut_alike_as_a_graph([&] { return make_model(options, 0); }, options.input, how.least);
}

std::vector<std::string> models_to_cut() {
  std::vector<std::string> names;
  for (const ModelInfo& info : models())
    if (info.input.axes() > 0 && !alike.contains(info.name)) names.push_back(info.name);
  return names;
}
INSTANTIATE_TEST_SUITE_P(Surgery, EveryModel, testing::ValuesIn(models_to_cut()),
                         [](const auto& info) { return info.param; });

/// A convolution of 4 groups, 3 channels to 4 each, and depthwise ones: after it, with a channel to one and
/// to two, and after the stem.
std::unique_ptr<Module> grouped() {
  auto net = std::make_unique<SmallNet>();
  Conv2d &stem = net->conv("stem", 3, 12), &grouped = net->conv("grouped", 12, 16, 4, false),
         &depthwise = net->conv("depthwise", 16, 32, 16), &mixing = net->conv("mixing", 32, 9),
         &alone = net->conv("alone", 9, 9, 9);
  BatchNorm2d &n1 = net->norm("n1", 12), &n2 = net->norm("n2", 16), &n3 = net->norm("n3", 32),
              &n4 = net->norm("n4", 9);
  Linear& fc = net->linear("fc", 9 * 9, 5, 9);
  net->pass = [&](const Variable& x) {
    const Variable a = grouped.forward(stem.forward(x, n1, Activation::relu), n2, Activation::relu);
    const Variable b = mixing.forward(depthwise.forward(a, n3, Activation::relu), n4, Activation::relu);
    return fc.forward(ops::flatten(ops::max_pool2d(alone.forward(b), 2)));
  };
  return net;
}

TEST(Surgery, CuttingEqualsMaskingInGroups) {
  EXPECT_EQ(check_cuts(grouped, {6, 6, 3}, 50, 1e-5),
            (NameSet{"stem", "grouped", "depthwise", "mixing", "alone"}));
}

TEST(Surgery, GroupsAreCutAlikeAsAGraph) { check_cut_alike_as_a_graph(grouped, {6, 6, 3}, 1); }

/// Two side by side, each read again from where it stands then; one beside itself; halves added up; all
/// pixels of a channel in a row.
std::unique_ptr<Module> joined() {
  auto net = std::make_unique<SmallNet>();
  Conv2d &a = net->conv("a", 3, 7), &b = net->conv("b", 3, 9), &both = net->conv("both", 16, 8),
         &of_a = net->conv("of_a", 7, 6), &of_b = net->conv("of_b", 9, 6),
         &doubled = net->conv("doubled", 28, 10);
  BatchNorm2d &n1 = net->norm("n1", 16), &n2 = net->norm("n2", 14), &n3 = net->norm("n3", 10);
  Linear &fc1 = net->linear("fc1", 5 * 9, 24, 9), &fc2 = net->linear("fc2", 24, 5);
  net->pass = [&](const Variable& x) {
    const Variable left = a.forward(x), right = b.forward(x);
    const Variable side_by_side = relu(n1.forward(ops::concat({left, right})));
    const int64_t at = left.shape()[-1], width = right.shape()[-1];
    const Variable sum = ops::add(of_a.forward(ops::slice(side_by_side, 0, at)),
                                  of_b.forward(ops::slice(side_by_side, at, width)));
    const Variable c = relu(n2.forward(ops::concat({both.forward(side_by_side), sum})));
    const Variable d = doubled.forward(ops::concat({c, c}), n3, Activation::relu);
    const int64_t half = d.shape()[-1] / 2;
    const Variable halves = ops::add(ops::slice(d, 0, half), ops::slice(d, half, half));
    const Variable f = fc1.forward(ops::flatten(ops::max_pool2d(halves, 2)));
    return fc2.forward(ops::activation(f, Activation::tanh));
  };
  return net;
}

/// Where a slice lies stands in a graph: what it reads is left whole there.
TEST(Surgery, AGraphsSlicesAreLeftWhole) {
  const Shape input{6, 6, 3};
  const auto net = joined();
  randomize(*net, 1);
  GraphModule graph(Network(*net, input).graph, state_dict(*net));
  load_state_dict(graph, state_dict(*net), "the network");
  const auto groups = channel_graph(graph, Network(graph, input).graph).groups;
  NameSet fixed;
  for (const ChannelGroup& group : groups)
    if (group.fixed == "bound together by slice")
      for (const std::string& maker : makers_of(group)) fixed.insert(maker);
  EXPECT_EQ(fixed, (NameSet{"a", "b", "doubled"}));
  PruneOptions some = cut_channels({Target::ratio, 0.25});
  some.selection.limits.min_channels = 2;
  some.verify = random_tensor({4, 6, 6, 3}, 5);
  const auto cut = prune(graph, input, some);
  EXPECT_TRUE(cut.proof.value().holds());
  EXPECT_LT(cut.after.macs, cut.before.macs);
}

TEST(Surgery, CuttingEqualsMaskingOfWhatIsJoinedSlicedAndFlattened) {
  EXPECT_EQ(check_cuts(joined, {6, 6, 3}, 50, 1e-5),
            (NameSet{"a", "b", "both", "of_a", "of_b", "doubled", "fc1"}));
}

/// A layer used twice, with its norm, and a residual sum.
std::unique_ptr<Module> used_twice() {
  auto net = std::make_unique<SmallNet>();
  Conv2d &stem = net->conv("stem", 3, 10), &twice = net->conv("twice", 10, 10),
         &into = net->conv("into", 10, 8), &inner = net->conv("inner", 8, 12),
         &outer = net->conv("outer", 12, 8);
  BatchNorm2d &n1 = net->norm("n1", 10), &n2 = net->norm("n2", 10), &n3 = net->norm("n3", 8),
              &n4 = net->norm("n4", 12), &n5 = net->norm("n5", 8);
  Linear& fc = net->linear("fc", 8 * 9, 5, 9);
  net->pass = [&](const Variable& x) {
    const Variable a = stem.forward(x, n1, Activation::relu);
    const Variable b = twice.forward(twice.forward(a, n2, Activation::relu), n2, Activation::relu);
    const Variable c = into.forward(b, n3, Activation::relu);
    const Variable sum = outer.forward(inner.forward(c, n4, Activation::relu), n5, Activation::relu, c);
    return fc.forward(ops::flatten(ops::max_pool2d(sum, 2)));
  };
  return net;
}

TEST(Surgery, CuttingEqualsMaskingOfWhatIsUsedTwice) {
  EXPECT_EQ(check_cuts(used_twice, {6, 6, 3}, 50, 1e-5),
            (NameSet{"stem", "twice", "into", "inner", "outer"}));
}

/// Squeeze-and-excitation: what gates a channel goes with it, and the squeezed channels by themselves; a
/// scale and a bias of each channel go with it, too.
class Excited : public SmallNet {
 public:
  Excited() {
    Conv2d &stem = conv("stem", 3, 10), &body = conv("body", 10, 8);
    BatchNorm2d &n1 = norm("n1", 10), &n2 = norm("n2", 8);
    Linear &squeeze = linear("squeeze", 10, 6), &excite = linear("excite", 6, 10), &fc = linear("fc", 8, 5);
    Scale& scale = add_child<Scale>("scale", 8);
    pass = [&](const Variable& x) {
      const Variable a = stem.forward(x, n1, Activation::hard_swish);
      const Variable squeezed = relu(squeeze.forward(ops::global_average_pool(a)));
      const Variable gate = ops::activation(excite.forward(squeezed), Activation::hard_sigmoid);
      const Variable b = body.forward(ops::mul(a, gate), n2, Activation::none);
      return fc.forward(ops::global_average_pool(ops::add(b, scale.forward(ops::max_pool2d(b, 1)))));
    };
  }

 private:
  /// x gamma + beta
  class Scale : public Module {
   public:
    explicit Scale(int64_t channels)
        : gamma_(add_parameter("gamma", Role::scale, Tensor::full({channels}, 1.0f))),
          beta_(add_parameter("beta", Role::shift, Tensor::zeros({channels}))) {}
    Variable forward(const Variable& x) override {
      return ops::add(ops::mul(x, gamma_.variable), beta_.variable);
    }
    std::string type() const override { return "scale"; }
    std::vector<ChannelAxes> channel_axes() const override { return {{"gamma", 0, 0}, {"beta", 0, 0}}; }

   private:
    Parameter &gamma_, &beta_;
  };
};

TEST(Surgery, CuttingEqualsMaskingOfWhatIsExcitedAndScaled) {
  EXPECT_EQ(check_cuts([] { return std::make_unique<Excited>(); }, {6, 6, 3}, 50, 1e-5),
            (NameSet{"stem", "body", "squeeze", "excite"}));
}

/// Cut to one input a group a grouped convolution is no depthwise one: what is cut next are its outputs, of
/// each group the same; nor does a depthwise convolution of one channel become an ordinary one.
TEST(Surgery, GroupsStayWhatTheyWereFromOneCutToTheNext) {
  const auto make = [](SmallNet& net) {
    Conv2d &stem = net.conv("stem", 3, 8), &grouped = net.conv("grouped", 8, 8, 4),
           &mixing = net.conv("mixing", 8, 3), &depthwise = net.conv("depthwise", 3, 6, 3),
           &last = net.conv("last", 6, 2);
    net.pass = [&](const Variable& x) {
      const Variable y = mixing.forward(grouped.forward(stem.forward(x)));
      return ops::global_average_pool(last.forward(depthwise.forward(y)));
    };
    randomize(net, 1);
  };
  const Shape input{6, 6, 3};
  SmallNet net, loaded, fresh;
  for (SmallNet* one : {&net, &loaded, &fresh}) make(*one);
  const auto cut_to = [&](SmallNet& one, const ChannelVerdicts& kept) {
    const Network network(one, input);
    const auto groups = channel_graph(one, network.graph).groups;
    const auto cuts = cuts_of(groups, kept);
    zero_channels(groups, kept);
    const Doubles masked = outputs(one, input);
    ASSERT_GT(spread(masked), 0.01);
    cut(one, cuts);
    const Doubles after = outputs(one, input);
    for (size_t i = 0; i < after.size(); ++i) EXPECT_NEAR(after[i], masked[i], 1e-5);
  };
  cut_to(net, {{1, 0}, {1, 1}, {0, 1, 0}, {1, 1}});
  EXPECT_EQ(net.find("grouped.weight")->shape(), (Shape{8, 3, 3, 1}));
  EXPECT_EQ(net.find("depthwise.weight")->shape(), (Shape{2, 3, 3, 1}));
  cut(loaded, net.history);
  check_same(loaded, net, input);
  for (SmallNet* one : {&net, &loaded}) cut_to(*one, {{1}, {0, 1}, {1}, {1, 1}});
  EXPECT_EQ(net.find("stem.weight")->shape(), (Shape{4, 3, 3, 3}));
  EXPECT_EQ(net.find("grouped.weight")->shape(), (Shape{4, 3, 3, 1}));
  cut(fresh, net.history);
  check_same(loaded, net, input);
  check_same(fresh, net, input);
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
  w.state["average"] = Tensor::from({2, 6}, Floats{5, 4, 3, 2, 1, 0, 5, 4, 3, 2, 1, 0});
  w.state["slot0"] = Tensor::from({2, 6}, Floats{6, 5, 4, 3, 2, 1, 6, 5, 4, 3, 2, 1});
  gamma.value() = Tensor::from({3}, Floats{7, 8, 9});
  mean.value() = Tensor::from({3}, Floats{4, 5, 6});
  const Network network(net, {1, 2, 1});
  const auto groups = channel_graph(net, network.graph).groups;
  const auto cuts = cuts_of(groups, {{1, 0, 1}, {1, 1}});
  cut(net, cuts);
  EXPECT_EQ(numbers(w.value()), (std::vector<float>{0, 2, 3, 5, 10, 12, 13, 15}));
  EXPECT_EQ(numbers(w.gradient()), (std::vector<float>{0, -2, -3, -5, 0, 0, 1, 1}));
  EXPECT_EQ(flags(w.mask), (std::vector<int>{1, 1, 1, 1, 0, 0, 1, 1}));
  EXPECT_EQ(numbers(w.state_of("average")), (std::vector<float>{5, 3, 2, 0, 5, 3, 2, 0}));
  EXPECT_EQ(numbers(w.state_of("slot0")), (std::vector<float>{6, 4, 3, 1, 6, 4, 3, 1}));
  EXPECT_EQ(numbers(gamma.value()), (std::vector<float>{7, 9}));
  EXPECT_EQ(numbers(mean.value()), (std::vector<float>{4, 6}));
  EXPECT_EQ(net.find("a.weight")->shape(), (Shape{2, 3, 3, 1}));
  EXPECT_EQ(cuts.front(), (AxisCut{"a.weight", 0, 3, {0, 2}}));
  EXPECT_EQ(cuts.back(), (AxisCut{"fc.weight", 1, 6, {0, 2, 3, 5}}));
}

int64_t resident_bytes() {
  int64_t all = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

/// What was generated for the shapes before a cut is let go: 500 networks of widths that were not there
/// before.
TEST(Surgery, FiveHundredCutsTakeNoMoreMemoryThanFew) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer keeps what is let go for a while";
#endif
  const Shape input{8, 8, 3};
  int64_t cuts = 0, early = 0;
  for (int64_t width = 3; cuts < 500; ++width) {
    SmallNet net;
    Conv2d &a = net.conv("a", 3, 26), &b = net.conv("b", 26, width, 1, true, 0);
    Linear& fc = net.linear("fc", width, 5);
    net.pass = [&](const Variable& x) {
      return fc.forward(ops::global_average_pool(ops::max_pool2d(b.forward(relu(a.forward(x))), 2)));
    };
    const auto groups = [&] { return channel_graph(net, Network(net, input).graph).groups; };
    for (int64_t left = 26; left > 1 && cuts < 500; --left, ++cuts) {
      ops::sum(net.forward(Variable(random_tensor({2, 8, 8, 3}, 1)))).backward();
      ChannelVerdicts kept;
      for (const ChannelGroup& group : groups())
        kept.emplace_back(static_cast<size_t>(group.channels), uint8_t{1});
      kept[0][0] = 0;
      cut(net, cuts_of(groups(), kept));
      if (cuts == 50) early = resident_bytes();
    }
  }
  EXPECT_LE(static_cast<double>(resident_bytes()), 1.2 * static_cast<double>(early));
}

TEST(Surgery, RefusesWhatDoesNotFitAndLeavesAllAsItWas) {
  SmallNet net;
  Conv2d &a = net.conv("a", 3, 4), &b = net.conv("b", 4, 2);
  net.pass = [&](const Variable& x) { return b.forward(a.forward(x)); };
  const Network network(net, {5, 5, 3});
  const auto groups = channel_graph(net, network.graph).groups;
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
