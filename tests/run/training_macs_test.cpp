#include "espalier/run/training_macs.h"

#include <gtest/gtest.h>

#include "espalier/nn/models/models.h"
#include "espalier/prune/pruner.h"

namespace espalier {
namespace {

/// A perceptron 16-8-4 whose layers keep a quarter of 128 weights and half of 32: 48 of 160.
std::unique_ptr<Module> masked_model() {
  auto model = make_model({.type = "mlp", .input = {4, 4, 1}, .classes = 4, .hidden = {8}}, 0);
  const auto mask = [&](const char* layer, double sparsity) {
    prune(*model, {4, 4, 1}, {.target = {Target::sparsity, sparsity}, .include = {layer}});
  };
  mask("fc1", 0.75);
  mask("fc2", 0.5);
  return model;
}

double share(const RegrowConfig& regrow) {
  TrainConfig train;
  train.regrow = regrow;
  return training_macs_share(train, *masked_model(), {4, 4, 1}, {.epoch_steps = 10, .steps = 100});
}

TEST(TrainingMacs, AreThoseOfThePapers) {
  const double sparse = 48, dense = 160;
  EXPECT_DOUBLE_EQ(share({.type = "set"}), sparse / dense);
  EXPECT_DOUBLE_EQ(share({.type = "sparse_momentum"}), (2 * sparse + dense) / (3 * dense));
  EXPECT_DOUBLE_EQ(share({.type = "straight_through"}), (2 * sparse + dense) / (3 * dense));
  // Masks move in steps 0, 10, ..., 70 of 100.
  EXPECT_DOUBLE_EQ(share({.type = "rigl", .end = 75, .every = 10}),
                   (2 * sparse + 0.08 * dense + 0.92 * sparse) / (3 * dense));
  // Of its end, where by cosine nothing drops, no gradients are looked at.
  EXPECT_DOUBLE_EQ(share({.type = "rigl", .end = 70, .every = 10}),
                   (2 * sparse + 0.07 * dense + 0.93 * sparse) / (3 * dense));
  EXPECT_DOUBLE_EQ(share({.type = "set", .end = 70, .every = 10}), sparse / dense);
}

TEST(TrainingMacs, OfTopKastAreOfWhatTrains) {
  // Half of each layer trains, and what is in use: 64 and 16.
  EXPECT_DOUBLE_EQ(share({.type = "top_kast"}), (2 * 48 + 80) / (3 * 160.0));
  EXPECT_DOUBLE_EQ(share({.type = "top_kast", .extra = {{"backward_sparsity", 0.7}}}),
                   (2 * 48 + 38 + 16) / (3 * 160.0))
      << "128 - llround(89.6), and all that is in use";
}

}  // namespace
}  // namespace espalier
