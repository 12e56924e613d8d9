#include "espalier/prune/scope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "espalier/core/random.h"
#include "espalier/nn/models/models.h"
#include "espalier/prune/pruner.h"
#include "prune/small_net.h"
#include "support/bad_input.h"

namespace espalier {
namespace {

using Counts = std::vector<int64_t>;

/// The header's example.
std::vector<SharingLayer> three_layers() {
  return {{.shape = {2, 8}, .units = 16, .place = {.first = true}},
          {.shape = {8, 8}, .units = 64},
          {.shape = {4, 8}, .units = 32, .place = {.last = true}}};
}

Counts apportioned(const char* scope, int64_t total, const Counts& least = {0, 0, 0},
                   const Counts& most = {16, 64, 32}) {
  return apportion(scopes().named(scope), three_layers(), total, least, most);
}

std::vector<double> shares(const char* scope, double share) {
  return scopes().named(scope).shares(three_layers(), share);
}

void expect_near(const std::vector<double>& found, const std::vector<double>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-9) << i;
}

TEST(Scope, ErkByHand) {
  expect_near(shares("erk", 0.5), {1 - 56 / 38.0 * 0.625, 1 - 56 / 38.0 * 0.25, 1 - 56 / 38.0 * 0.375});
  expect_near(shares("erk", 0.4), {0, 1 - 51.2 / 28 * 0.25, 1 - 51.2 / 28 * 0.375});
  expect_near(shares("erk", 0), {0, 0, 0});
  expect_near(shares("erk", 1), {1, 1, 1});
  EXPECT_EQ(apportioned("erk", 56), (Counts{1, 41, 14})) << "1.26, 40.42 and 14.32 are 55: b's is the next";
  EXPECT_EQ(apportioned("erk", 45), (Counts{0, 35, 10}));
  EXPECT_EQ(apportioned("erk", 0), (Counts{0, 0, 0}));
  EXPECT_EQ(apportioned("erk", 112), (Counts{16, 64, 32}));
}

TEST(Scope, ErkCountsTheSizesOfKernels) {
  // (4 + 3 + 3 + 2) / 72 and (4 + 6) / 24; 48 of 96 stay: eps = 48 / (12 + 10).
  const std::vector<SharingLayer> layers = {{.shape = {4, 3, 3, 2}, .units = 72},
                                            {.shape = {4, 6}, .units = 24}};
  expect_near(scopes().named("erk").shares(layers, 0.5), {1 - 48 / 22.0 * 12 / 72, 1 - 48 / 22.0 * 10 / 24});
}

TEST(Scope, UniformLeavesTheFirstLayerDense) { expect_near(shares("uniform", 0.7), {0, 0.7, 0.7}); }

TEST(Scope, UniformPlusKeepsTheFirstConvolutionAndAFifthOfTheLast) {
  expect_near(shares("uniform_plus", 0.5), {0.5, 0.5, 0.5});  // the first is no convolution
  const double others = (0.9 * 112 - 0.8 * 32) / 80;
  expect_near(shares("uniform_plus", 0.9), {others, others, 0.8});
  std::vector<SharingLayer> layers = three_layers();
  layers[0].shape = {2, 2, 2, 2};
  const Scope& scope = scopes().named("uniform_plus");
  expect_near(scope.shares(layers, 0.5), {0, 56 / 96.0, 56 / 96.0});
  expect_near(scope.shares(layers, 0.75), {0, (84 - 25.6) / 64, 0.8});
  EXPECT_EQ(apportion(scope, layers, 84, {0, 0, 0}, {16, 64, 32}), (Counts{0, 58, 26}));
  EXPECT_EQ(apportion(scope, layers, 112, {0, 0, 0}, {16, 64, 32}), (Counts{0, 64, 26})) << "all that may go";
}

TEST(Scope, LimitsHoldAndTheOthersGiveWhatIsMissing) {
  EXPECT_EQ(apportioned("erk", 56, {0, 0, 0}, {16, 30, 32}), (Counts{6, 30, 20}));
  EXPECT_EQ(apportioned("erk", 56, {6, 0, 0}), (Counts{6, 38, 12}));
  EXPECT_EQ(apportioned("erk", 56, {0, 60, 0}), (Counts{0, 60, 0})) << "more than is asked for";
  EXPECT_EQ(apportioned("erk", 100, {0, 0, 0}, {16, 30, 20}), (Counts{16, 30, 20})) << "all that may go";
}

/// For totals from none to all.
TEST(Scope, CountsAreExactAndNeverFall) {
  const uint64_t key = random_key(1, 0);
  for (const Scope& scope : scopes()) {
    if (!scope.meets_total) continue;
    for (uint64_t trial = 0; trial < 40; ++trial) {
      const uint64_t draw = random_key(key, trial);
      std::vector<SharingLayer> layers;
      int64_t units = 0;
      for (uint64_t i = 0; i < 5; ++i) {
        const auto size = [&](uint64_t place) { return 1 + random_below(draw, 10 * i + place, 7); };
        const Shape shape = random_below(draw, 10 * i + 9, 2) ? Shape{size(0), size(1)}
                                                              : Shape{size(0), size(1), size(1), size(2)};
        layers.push_back({.shape = shape, .units = shape.elements()});
        units += shape.elements();
      }
      layers.front().place.first = layers.back().place.last = true;
      Counts least(5, 0), most;
      for (const SharingLayer& layer : layers) most.push_back(layer.units);
      const Counts all = apportion(scope, layers, units, least, most);
      const int64_t reachable = std::accumulate(all.begin(), all.end(), int64_t{0});
      Counts before(5, 0);
      for (int64_t total = 0; total <= reachable; ++total) {
        const Counts now = apportion(scope, layers, total, least, most);
        ASSERT_EQ(std::accumulate(now.begin(), now.end(), int64_t{0}), total) << scope.name << trial;
        for (size_t i = 0; i < now.size(); ++i)
          ASSERT_GE(now[i], before[i]) << scope.name << ", trial " << trial << ", total " << total;
        before = now;
      }
    }
  }
}

TEST(Scope, WhereNothingIsToBeSaidIsSaid) {
  const Scope &erk = scopes().named("erk"), &global = scopes().named("global");
  EXPECT_EQ(why_not(erk, Unit::channel),
            "scope erk gives each layer a share of its own, and a channel is of several layers: expected "
            "layer, global, isomorphic");
  EXPECT_EQ(why_not(erk, Unit::layer),
            "scope erk ranks the units of each layer, and a layer is one: expected global or isomorphic");
  EXPECT_EQ(why_not(erk, Unit::n_of(2, 4)),
            "scope erk has nothing to say: weights are ranked in each 4 of 2:4");
  for (const Unit::Kind unit : {Unit::weight, Unit::filter, Unit::column, Unit::kernel, Unit::block})
    EXPECT_EQ(why_not(erk, unit), "");
  for (const Unit::Kind unit : {Unit::weight, Unit::layer, Unit::channel})
    EXPECT_EQ(why_not(global, unit), "");
}

TEST(Scope, IsKnownByName) {
  EXPECT_EQ(message_of<UsageError>([] { scopes().named("globl"); }),
            "scope: no type 'globl', did you mean 'global'?");
}

TEST(Scope, OneOfAProgramsOwnSharesOutWhatItSays) {
  const Scope by_half{.name = "by_half",
                      .help = "of the first half as much as of the others",
                      .shares =
                          [](const std::vector<SharingLayer>& layers, double share) {
                            std::vector<double> shares(layers.size(), share);
                            shares.front() = share / 2;
                            return shares;
                          },
                      .meets_total = true};
  EXPECT_EQ(apportion(by_half, three_layers(), 52, {0, 0, 0}, {16, 64, 32}), (Counts{4, 32, 16}));
}

// --- ResNet-50 as published, at 224x224: google-research/rigl, README.md ---

struct ResNet50 {
  const Shape image{224, 224, 3};
  std::unique_ptr<Module> model = make_model({.type = "resnet50", .input = image, .classes = 1000}, 0);

  Network pruned(const char* scope, double sparsity, const SharesOfLayers& shares_of = {}) {
    const PruneResult result = prune(*model, image,
                                     {.selection = {.scope = scopes().named(scope), .shares_of = shares_of},
                                      .target = {Target::sparsity, sparsity}});
    EXPECT_EQ(result.layers.size(), 54u);
    return Network(*model, image);
  }

  /// Operations of an image, as they are counted there: a product and a sum for each number that is not 0,
  /// and one more an output. Images are padded to 230 first, of which conv1 makes 115 rows and not 112.
  static double operations(const Network& network) {
    double sum = 0;
    for (const LayerRow& layer : network.layers) {
      if (layer.weights == 0) continue;
      const double row = static_cast<double>(layer.weights) / static_cast<double>(layer.shape[0]);
      const double outputs = static_cast<double>(layer.macs) / row;
      const double scale = layer.name == "conv1" ? 115.0 * 115 / (112 * 112) : 1;
      sum += scale * outputs * (2 * (1 - layer.sparsity()) * row + 1);
    }
    return sum;
  }

  /// Four bytes a number that is not 0, a bit for each of a sparse layer's, and biases: in 10^6. (Of fresh
  /// weights one is 0.)
  static double megabytes(const Network& network) {
    double bytes = 0;
    for (const LayerRow& layer : network.layers) {
      if (layer.weights == 0) continue;
      bytes += 4.0 * static_cast<double>(layer.weights - layer.weight_zeros + layer.shape[0]);
      if (layer.sparsity() > 0.001) bytes += static_cast<double>(layer.weights) / 8;
    }
    return bytes / 1e6;
  }
};

double two_digits(double share) { return std::round(share * 100) / 100; }

TEST(ResNet50, ErkIsAsPublished) {
  ResNet50 net;
  const Network dense(*net.model, net.image);
  const double all = ResNet50::operations(dense);
  EXPECT_NEAR(all, 8.2e9, 0.05e9);
  EXPECT_NEAR(ResNet50::megabytes(dense), 102.122, 0.0005);
  struct Published {
    double sparsity, operations, megabytes;  // 0: not this distribution's
  };
  for (const auto& [sparsity, operations, megabytes] :
       {Published{0.8, 0.42, 23.683}, {0.9, 0.24, 13.499}, {0.95, 0.12, 8.399}, {0.965, 0.09, 0}}) {
    const Network network = net.pruned("erk", sparsity);  // what was pruned stays, and counts are the same
    EXPECT_EQ(network.totals.weight_zeros, std::llround(sparsity * 25'502'912)) << sparsity;
    EXPECT_EQ(two_digits(ResNet50::operations(network) / all), operations) << sparsity;
    if (megabytes > 0) {
      EXPECT_NEAR(ResNet50::megabytes(network), megabytes, 0.002) << sparsity;
    }
  }
}

TEST(ResNet50, ErkWithADenseFirstLayerIsAsPublishedForAHundredthOfTheWeights) {
  ResNet50 net;
  const double all = ResNet50::operations(Network(*net.model, net.image));
  const Network network = net.pruned("erk", 0.99, {{"conv1", 0}});
  EXPECT_EQ(two_digits(ResNet50::operations(network) / all), 0.05);
  EXPECT_NEAR(ResNet50::megabytes(network), 4.354, 0.001);
  EXPECT_EQ(network.totals.weight_zeros, std::llround(0.99 * (25'502'912 - 9408)));
}

TEST(ResNet50, UniformIsAsPublished) {
  ResNet50 net;
  const double all = ResNet50::operations(Network(*net.model, net.image));
  struct Published {
    double sparsity, operations, megabytes;
  };
  for (const auto& [sparsity, operations, megabytes] :
       {Published{0.8, 0.23, 0}, {0.9, 0.13, 13.532}, {0.95, 0.08, 8.433}, {0.965, 0.07, 6.904}}) {
    const Network network = net.pruned("uniform", sparsity);
    EXPECT_EQ(two_digits(ResNet50::operations(network) / all), operations) << sparsity;
    if (megabytes > 0) {
      EXPECT_NEAR(ResNet50::megabytes(network), megabytes, 0.001) << sparsity;
    }
    for (const LayerRow& layer : network.layers) {
      const double share = layer.name == "conv1" ? 0 : sparsity;
      EXPECT_EQ(layer.weight_zeros, std::llround(share * static_cast<double>(layer.weights))) << layer.name;
    }
  }
}

}  // namespace
}  // namespace espalier
