// Files of a program with modules of its own: the program knows only their graphs.
#include <gtest/gtest.h>

#include "espalier/channels/graph.h"
#include "espalier/graph/graph_json.h"
#include "espalier/graph/ops.h"
#include "espalier/nn/inference.h"
#include "espalier/nn/init.h"
#include "espalier/nn/layers.h"
#include "espalier/nn/network.h"
#include "espalier/prune/pruner.h"
#include "espalier/prune/report.h"
#include "espalier/run/checkpoint.h"
#include "support/bad_input.h"
#include "support/numbers.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

/// A module of a program's own: every op that has parameters, two branches, a norm by itself.
class OwnNet : public Module {
 public:
  explicit OwnNet(int64_t positions = 9)
      : stem_(add_child<Conv2d>("stem", 3, 8, 3, ops::Conv2dOptions{.pad = 1}, true, Activation::relu)),
        depthwise_(add_child<Conv2d>("block.depthwise", 8, 8, 3, ops::Conv2dOptions{.pad = 1, .groups = 8})),
        norm_(add_child<BatchNorm2d>("block.norm", 8)),
        narrow_(add_child<Conv2d>("narrow", 8, 4, 1)),
        head_(add_child<Linear>("head", 9 * 12, 5, true, Activation::none, positions)) {}
  Variable forward(const Variable& x) override {
    const Variable y = stem_(x);
    const Variable z = ops::add(y, depthwise_.forward(y, norm_, Activation::relu));
    const Variable w = ops::concat({ops::max_pool2d(z, 2), ops::average_pool2d(narrow_(z), 2)});
    return head_(ops::flatten(ops::activation(ops::scale(w, 0.5f), Activation::gelu)));
  }
  std::string type() const override { return "own"; }

 private:
  Conv2d &stem_, &depthwise_;
  BatchNorm2d& norm_;
  Conv2d& narrow_;
  Linear& head_;
};

const DataDescription colours{
    .image = {6, 6, 3}, .class_names = {"a", "b", "c", "d", "e"}, .mean = {0.5, 0.25, 0}, .std = {1, 2, 0.5}};

Tensor logits_of(Module& model, const Tensor& images) {
  const Inference inference(model);
  return model.forward(Variable(images)).value();
}

void randomise(Module& model) {
  uint64_t key = 3;
  for (Parameter* parameter : model.parameters())
    if (parameter->value().dtype() == DType::f32)
      parameter->value().copy_from(random_tensor(parameter->shape(), ++key, 0.1, 1));
}

TEST(GraphCheckpoint, IsWhatAProgramSavedWhoeverMadeTheModule) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "own.safetensors";
  OwnNet own;
  randomise(own);
  const Tensor images = random_tensor({4, 6, 6, 3}, 1);
  for (const bool cut_first : {false, true}) {
    if (cut_first) {
      PruneOptions options{.unit = Unit::channel, .target = {Target::ratio, 0.25}, .apply = Apply::cut};
      options.scoring.criterion = criteria().named("group_norm");
      options.selection.limits.min_channels = 2;
      prune(own, colours.image, options);
      ASSERT_LT(own.find("stem.weight")->shape()[0], 8);
    }
    own.find("head.weight")
        ->set_mask(Tensor::from(own.find("head.weight")->shape(),
                                random_mask(own.find("head.weight")->value().elements(), 7)));
    save_weights(file, own, colours);
    const auto [model, info] = open_checkpoint(file);
    const Tensor expected = logits_of(own, images);  // convolution and norm are one op there
    EXPECT_TRUE(near(logits_of(*model, images), doubles(expected.span<float>()), 1e-5)) << cut_first;
    EXPECT_EQ(info.classes, colours.class_names);
    EXPECT_EQ(info.config.model.input, colours.image);
    EXPECT_EQ(info.config.model.classes, 5);
    EXPECT_EQ(info.config.data.normalize->mean, colours.mean);
    EXPECT_EQ(info.config.data.type, "");
    EXPECT_TRUE(model->find("head.weight")->mask.defined());
    EXPECT_EQ(model->find("block.norm.num_batches_tracked")->value().dtype(), DType::i64);
    EXPECT_EQ(cut_widths(*model).empty(), !cut_first);

    const Network a(own, colours.image), b(*model, colours.image);
    EXPECT_EQ(a.totals.macs, b.totals.macs);
    EXPECT_EQ(a.totals.parameters, b.totals.parameters);
    EXPECT_EQ(a.totals.nonzeros, b.totals.nonzeros);
    EXPECT_EQ(to_json(a.graph), to_json(b.graph));
  }
}

TEST(GraphCheckpoint, TakesTheDataThatAreNamed) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "own.safetensors";
  OwnNet own;
  save_weights(file, own, colours);
  const Config config =
      open_checkpoint(file, {"data.type=image_folder", "data.path=x", "data.batch=7"}).info.config;
  EXPECT_EQ(config.data.type, "image_folder");
  EXPECT_EQ(config.data.batch, 7);
  EXPECT_EQ(config.data.normalize->std, colours.std);
  EXPECT_TRUE(contains(message_of([&] { open_checkpoint(file, {"model.width=2"}); }),
                       "has no config, only data.* can be set"));
}

TEST(GraphCheckpoint, WhatAFileWouldSayWronglyIsNotWritten) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "own.safetensors";
  OwnNet own(1);
  EXPECT_TRUE(contains(message_of([&] { save_weights(file, own, colours); }),
                       "cannot write: head.weight follows a flatten of 9 pixels, but was made for 1"));
  OwnNet right;
  DataDescription four = colours;
  four.class_names.pop_back();
  EXPECT_TRUE(
      contains(message_of([&] { save_weights(file, right, four); }), "4 names of classes for 5 outputs"));
}

/// A module whose pass is `forward`.
class Passes : public Module {
 public:
  explicit Passes(std::function<Variable(const Variable&)> forward) : forward_(std::move(forward)) {}
  Variable forward(const Variable& x) override { return forward_(x); }
  std::string type() const override { return "passes"; }

 private:
  std::function<Variable(const Variable&)> forward_;
};

TEST(GraphCheckpoint, WhatCouldNotBeReadAgainIsNotWritten) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "own.safetensors";
  const auto refusal = [&](std::function<Variable(const Variable&)> forward) {
    Passes model(std::move(forward));
    return message_of([&] { save_weights(file, model, {.image = {2, 2, 1}}); });
  };
  const std::string refused = file.string() + ": cannot write: its network cannot be read: ";
  EXPECT_EQ(refusal([](const Variable& x) { return x; }),
            file.string() + ": cannot write: the model has no ops");
  EXPECT_EQ(refusal([](const Variable& x) { return ops::scale(x, 2); }),
            refused + "puts out [1, 2, 2, 1], expected a row of logits");
  EXPECT_TRUE(contains(refusal([](const Variable& x) {
                         return ops::flatten(ops::add(x, Variable(Tensor::full(x.shape(), 1))));
                       }),
                       refused + "/ops/0/inputs: value 1 does not exist there"));
  Passes right([](const Variable& x) { return ops::flatten(x); });
  const double none = std::numeric_limits<double>::quiet_NaN();
  const auto of_numbers = [&](const std::vector<double>& mean, const std::vector<double>& std) {
    return message_of([&] { save_weights(file, right, {.image = {2, 2, 1}, .mean = mean, .std = std}); });
  };
  EXPECT_EQ(of_numbers({0.5, 0.5}, {1}), file.string() + ": cannot write: 2 numbers as mean of 1 channel");
  EXPECT_EQ(of_numbers({0.5}, {1, 1}), file.string() + ": cannot write: 2 numbers as std of 1 channel");
  EXPECT_EQ(of_numbers({none}, {1}), file.string() + ": cannot write: nan as mean of a channel");
  EXPECT_EQ(of_numbers({0.5}, {0}), file.string() + ": cannot write: 0 as std of a channel");
  EXPECT_FALSE(std::filesystem::exists(file));
  save_weights(file, right, {.image = {2, 2, 1}, .std = {0.5}});  // as a Loader takes it
  EXPECT_EQ(open_checkpoint(file).info.config.data.normalize->mean, std::vector<double>{0});
  EXPECT_EQ(open_checkpoint(file).info.config.data.normalize->std, std::vector<double>{0.5});
}

/// x^2, which no file can say.
Variable square(const Variable& x) {
  const Tensor y = Tensor::empty(x.shape());
  std::ranges::transform(x.value().span<float>(), const_cast<Tensor&>(y).f32(),
                         [](float v) { return v * v; });
  return record({.op = "square",
                 .attributes = {},
                 .inputs = {x},
                 .output = y,
                 .channels = Channels::kept,
                 .backward = {}});
}

class Squares : public Module {
 public:
  Squares() : fc1_(add_child<Linear>("fc1", 4, 6)), fc2_(add_child<Linear>("fc2", 6, 2)) {}
  Variable forward(const Variable& x) override { return fc2_(square(fc1_(ops::flatten(x)))); }
  std::string type() const override { return "squares"; }

 private:
  Linear &fc1_, &fc2_;
};

TEST(GraphCheckpoint, AnOpOfAProgramsOwnCanBeLookedAtButNotRun) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "squares.safetensors";
  Squares squares;
  save_weights(file, squares, {.image = {2, 2, 1}});
  const auto [model, info] = open_checkpoint(file);
  const Network network(*model, info.config.model.input);
  EXPECT_EQ(network.totals.macs, 4 * 6 + 6 * 2);
  EXPECT_EQ(network.graph.nodes[2].op, "square");
  EXPECT_EQ(message_of([&] {
              logits_of(*model, random_tensor({1, 2, 2, 1}, 1));
            }),
            "op 'square' is none of Espalier's: only the program that has it can run this network");
}

}  // namespace
}  // namespace espalier
