// Scores that need more than weights, what is left by them, and what that becomes, beside what
// bench/signals.py computes in PyTorch in double precision.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "espalier/prune/pruner.h"
#include "prune/hand_made.h"
#include "prune/small_net.h"
#include "support/places.h"

namespace espalier {
namespace {

using nlohmann::json;

const json& golden() {
  static const json all = json::parse(std::ifstream(source_folder() + "/tests/golden/signals.json"));
  return all;
}

struct Net : SmallNet {
  Conv2d& conv1 = conv("conv1", 3, 4);
  BatchNorm2d& bn1 = norm("bn1", 4);
  Conv2d& conv2 = conv("conv2", 4, 6);
  Linear& fc = linear("fc", 6, 5);

  Net() {
    pass = [this](const Variable& x) {
      const Variable a = relu(bn1.forward(conv1.forward(x)));
      const Variable b = relu(conv2.forward(ops::max_pool2d(a, 3, 2, 1)));
      return fc.forward(ops::global_average_pool(b));
    };
    for (const auto& [name, values] : golden()["parameters"].items())
      find(name)->value() = Tensor::from(find(name)->shape(), values.get<Floats>());
  }
};

SignalData data_of(bool single_images) {
  const auto sizes = golden()["images"].get<std::vector<int64_t>>();
  const auto pixels = golden()["pixels"].get<Floats>();
  const auto labels = golden()["labels"].get<std::vector<int32_t>>();
  const int64_t batch = single_images ? 1 : sizes[1], image = sizes[2] * sizes[3] * sizes[4];
  const auto part = [](const auto& all, int64_t first, int64_t count) {
    return std::vector(all.begin() + first, all.begin() + first + count);
  };
  return {.batches = sizes[0] * sizes[1] / batch,
          .batch =
              [=](int64_t i) {
                return SignalBatch{Tensor::from({batch, sizes[2], sizes[3], sizes[4]},
                                                part(pixels, i * batch * image, batch * image)),
                                   Tensor::from({batch}, part(labels, i * batch, batch))};
              },
          .loss = [](const Variable& logits,
                     const SignalBatch& one) { return ops::softmax_cross_entropy(logits, one.labels).loss; }};
}

Criterion criterion_of(const std::string& name) {
  Criterion criterion = criteria().named(name);
  if (name == "grasp") criterion.chosen = {{"temperature", golden()["temperature"].get<double>()}};
  if (name == "woodfisher")
    criterion.chosen = {{"block_size", golden()["block_size"].get<int64_t>()},
                        {"damping", golden()["woodfisher_damping"].get<double>()}};
  if (name == "sparsegpt") criterion.chosen = {{"damping", golden()["sparsegpt_damping"].get<double>()}};
  return criterion;
}

class SignalsGolden : public testing::TestWithParam<std::string> {
 protected:
  Net net;
  const Criterion criterion = criterion_of(GetParam());
  const json& expected = golden()["criteria"][GetParam()];
  Signals signals() {
    return gather_signals(net, {6, 6, 3}, criterion, data_of(kind_of(criterion.needs).single_images));
  }
};

TEST_P(SignalsGolden, Scores) {
  const UnitSet units = units_of(net, {6, 6, 3}, Unit::weight, {}, {});
  const Tensor scores = score_units(units, {.criterion = criterion}, signals());
  Doubles all;
  for (const UnitGroup& group : units.groups)
    for (const double score : expected["scores"][group.layer + ".weight"]) all.push_back(score);
  double largest = 0;
  for (const double score : all) largest = std::max(largest, std::abs(score));
  double factor = 1;
  if (GetParam() == "synflow") {  // known up to a factor
    double ours = 0, theirs = 0;
    for (size_t i = 0; i < all.size(); ++i) ours += scores.f32()[i], theirs += all[i];
    factor = theirs / ours;
  }
  ASSERT_EQ(scores.elements(), static_cast<int64_t>(all.size()));
  for (size_t i = 0; i < all.size(); ++i)
    EXPECT_NEAR(scores.f32()[i] * factor, all[i], 1e-4 * std::max(std::abs(all[i]), 1e-2 * largest)) << i;
}

TEST_P(SignalsGolden, WhatIsLeftAndWhatThatBecomes) {
  const PruneOptions options{.unit = Unit::weight,
                             .scoring = {.criterion = criterion},
                             .target = {Target::sparsity, 0.5},
                             .signals = [&](const Criterion&) { return signals(); }};
  prune(net, {6, 6, 3}, options);
  for (const auto& [name, kept] : expected["kept"].items()) {
    Parameter& parameter = *net.find(name);
    ASSERT_TRUE(parameter.mask.defined()) << name;
    EXPECT_EQ(flags(parameter.mask), kept.get<std::vector<int>>()) << name;
    if (!expected.contains("corrected")) continue;
    EXPECT_TRUE(near(parameter.value(), expected["corrected"][name].get<Doubles>(), 1e-4)) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Each, SignalsGolden,
                         testing::Values("snip", "grasp", "synflow", "wanda", "sparsegpt", "woodfisher"),
                         [](const auto& one) { return one.param; });

}  // namespace
}  // namespace espalier
