#include "espalier/train/trainer.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "espalier/autograd/random_pass.h"
#include "espalier/core/allocator.h"
#include "espalier/core/denormals.h"
#include "espalier/core/out_of_memory.h"
#include "espalier/graph/ops.h"
#include "espalier/nn/layers.h"
#include "espalier/run/build.h"
#include "run/small.h"
#include "support/bad_input.h"
#include "support/numbers.h"

namespace espalier {
namespace {

struct Fixture {
  explicit Fixture(int64_t steps, int64_t images = 25, int64_t batch = 10, int64_t accumulate = 1)
      : data(columns(images, 1)), loader(data, {.batch = batch, .seed = 3}) {
    config.optimizer.type = "adam";
    config.optimizer.lr = 0.01;
    config.accumulate = accumulate;
    state.epoch_steps = epoch_steps(config, loader.batches());
    state.total_steps = steps;
  }

  Dataset data;
  Loader loader;
  std::unique_ptr<Module> model =
      make_model({.type = "mlp", .input = {4, 4, 1}, .classes = 4, .hidden = {8}}, 0);
  TrainConfig config;
  std::unique_ptr<Optimizer> optimizer = make_optimizer({.type = "adam"}, model->parameters());
  Position position;
  std::string name = "fit";
  TrainState state{.stage = name,
                   .config = config,
                   .model = *model,
                   .optimizer = *optimizer,
                   .position = position,
                   .epoch_steps = 0,
                   .total_steps = 0};
};

/// Writes down what it is told.
struct Diary : Callback {
  explicit Diary(std::string& text) : text(text) {}
  void on_stage_begin(TrainState&) override { text += "["; }
  void after_backward(TrainState& s) override {
    text += s.model.parameters()[0]->gradient().defined() ? "b" : "?";
  }
  void after_update(TrainState&) override { text += "u"; }
  void after_step(TrainState& s) override { text += std::to_string(s.position.step); }
  void on_epoch_end(TrainState& s) override { text += "|" + std::to_string(s.position.images) + "|"; }
  void on_stage_end(TrainState&) override { text += "]"; }
  std::string& text;
};

std::string diary_of(Fixture& f, bool stop_at_once = false) {
  struct Stop : Callback {
    void on_epoch_end(TrainState& s) override { s.stop = "told to"; }
  } stop;
  std::string text;
  Diary diary(text);
  std::vector<Callback*> callbacks{&diary};
  if (stop_at_once) callbacks.push_back(&stop);
  Trainer(f.state, callbacks).run(f.loader);
  return text;
}

TEST(Trainer, CallsBackInOrderAndKeepsTheShortLastBatch) {
  Fixture f(6);  // 25 images: batches of 10, 10 and 5
  EXPECT_EQ(diary_of(f), "[bu1bu2bu3|25|bu4bu5bu6|25|]");
  EXPECT_EQ(f.position.epoch, 2);
}

TEST(Trainer, StepsByGradientsAtTheScaleThatACallbackSets) {
  struct Scale : Callback {
    explicit Scale(float by) : by(by) {}
    void after_backward(TrainState& s) override {
      if (s.position.step == 0) s.gradient_scale = Tensor::full({}, by);
    }
    const float by;
  } none{0}, one{1};
  const auto first_weight = [](Callback& scale, int64_t steps) {
    Fixture f(steps);
    const auto plain = make_optimizer({.type = "sgd"}, f.model->parameters());
    TrainState of_sgd{.stage = f.name,
                      .config = f.config,
                      .model = *f.model,
                      .optimizer = *plain,
                      .position = f.position,
                      .epoch_steps = f.state.epoch_steps,
                      .total_steps = steps};
    Trainer(of_sgd, {&scale}).run(f.loader);
    return f.model->find("fc2.bias")->value().f32()[0];
  };
  const float untrained = Fixture(1).model->find("fc2.bias")->value().f32()[0];
  EXPECT_EQ(first_weight(none, 1), untrained);
  EXPECT_NE(first_weight(one, 1), untrained);
  EXPECT_NE(first_weight(none, 2), untrained) << "the next step has none";
}

TEST(Trainer, StopsInTheMiddleOfAnEpochWhenItsStepsAreDone) {
  Fixture f(4);
  EXPECT_EQ(diary_of(f), "[bu1bu2bu3|25|bu4|10|]");
}

TEST(Trainer, EachStageHasOrdersOfItsOwn) {
  struct Losses : Callback {
    void after_step(TrainState& s) override { values.push_back(s.loss); }
    std::vector<double> values;
  };
  const auto losses_of_stage = [](int64_t stage) {
    Fixture f(2);
    f.position.stage = stage;
    Losses losses;
    Trainer(f.state, {&losses}).run(f.loader);
    return losses.values;
  };
  EXPECT_EQ(losses_of_stage(1), losses_of_stage(1));
  EXPECT_NE(losses_of_stage(0), losses_of_stage(1));
}

TEST(Trainer, EndsWithTheEpochWhenACallbackStopsIt) {
  Fixture f(9);
  EXPECT_EQ(diary_of(f, true), "[bu1bu2bu3|25|]");
}

TEST(Trainer, GoesOnFromAPositionToTheSameBits) {
  Fixture whole(6), half(6);
  diary_of(whole);
  struct Cut : Callback {  // leaves as an interrupt would, in the middle of an epoch
    void after_step(TrainState& s) override {
      if (s.position.step == 2) throw 2;
    }
  } cut;
  EXPECT_THROW(Trainer(half.state, {&cut}).run(half.loader), int);
  Trainer(half.state, {}).run(half.loader);
  for (size_t i = 0; i < whole.model->parameters().size(); ++i) {
    const auto a = whole.model->parameters()[i]->value().span<float>(),
               b = half.model->parameters()[i]->value().span<float>();
    EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin()));
  }
}

TEST(Trainer, AccumulatedBatchesEqualALargeOne) {
  // 25 images: steps of 12, 12 and 1, in one batch each or in up to three.
  Fixture large(6, 25, 12), small(6, 25, 4, 3);
  struct Losses : Callback {
    std::vector<double> all;
    void after_step(TrainState& s) override { all.push_back(s.loss); }
  } one, several;
  Trainer(large.state, {&one}).run(large.loader);
  Trainer(small.state, {&several}).run(small.loader);
  ASSERT_EQ(several.all.size(), 6u);
  for (size_t i = 0; i < one.all.size(); ++i) EXPECT_NEAR(several.all[i], one.all[i], 1e-5) << "step " << i;
  EXPECT_EQ(small.position.trained_images, 50);
  for (size_t i = 0; i < large.model->parameters().size(); ++i)
    EXPECT_TRUE(near(small.model->parameters()[i]->value(),
                     doubles(large.model->parameters()[i]->value().span<float>()), 1e-4));
}

TEST(Trainer, SettlesLossAndRightAnswersBehindEachStep) {
  struct Reader : Callback {
    void after_step(TrainState& s) override {
      const Position before = s.position;
      const double loss = s.loss;
      s.settle();
      EXPECT_EQ(s.loss, loss);  // on the CPU nothing is left to be read
      EXPECT_EQ(s.position.loss_sum, before.loss_sum);
      EXPECT_GE(s.position.loss_sum, seen + loss * 9.99);
      EXPECT_LE(s.position.loss_sum, seen + loss * 20.01);
      EXPECT_LE(s.position.correct, s.position.images);
      seen = s.position.loss_sum;
    }
    double seen = 0;
  } reader;
  Fixture f(2, 40, 10, 2);
  Trainer(f.state, {&reader}).run(f.loader);
  EXPECT_GT(reader.seen, 0);
  f.state.settle();  // the trainer is gone
}

TEST(Trainer, GoesOnBetweenAccumulatedStepsToTheSameBits) {
  Fixture whole(6, 25, 4, 3);
  EXPECT_EQ(diary_of(whole), "[bu1bu2bu3|25|bu4bu5bu6|25|]");
  struct Cut : Callback {
    int64_t step;
    void after_step(TrainState& s) override {
      if (s.position.step == step) throw 0;
    }
  } cut;
  for (const auto& [step, rest] : {std::pair{3, "[|25|bu4bu5bu6|25|]"}, {5, "[bu6|25|]"}}) {
    Fixture half(6, 25, 4, 3);
    cut.step = step;
    EXPECT_THROW(Trainer(half.state, {&cut}).run(half.loader), int);
    EXPECT_EQ(diary_of(half), rest);
    for (size_t i = 0; i < whole.model->parameters().size(); ++i)
      EXPECT_TRUE(same_bits(whole.model->parameters()[i]->value(), half.model->parameters()[i]->value()));
  }
}

TEST(Trainer, MixedImagesCountForBothTheirLabels) {
  Fixture f(1);
  Batch batch;
  f.loader.next(batch);
  batch.share = 0.7f;
  batch.other_labels = Tensor::from<int32_t>({10}, {0, 1, 2, 3, 0, 1, 2, 3, 0, 1});
  const auto smoothed = make_loss({.label_smoothing = 0.1});
  TrainState state{.stage = f.name,
                   .config = f.config,
                   .model = *f.model,
                   .optimizer = *f.optimizer,
                   .position = f.position,
                   .epoch_steps = f.state.epoch_steps,
                   .total_steps = 1,
                   .loss_function = *smoothed};
  const Variable logits = f.model->forward(Variable(batch.images));
  const auto loss = [&](const Tensor& labels) {
    return ops::softmax_cross_entropy(logits, labels, 0.1f).loss;
  };
  const Variable expected =
      ops::add(ops::scale(loss(batch.labels), 0.7f), ops::scale(loss(batch.other_labels), 0.3f));
  expected.backward();
  std::vector<Doubles> gradients;
  for (Parameter* p : f.model->parameters()) gradients.push_back(doubles(p->gradient().span<float>()));
  Trainer(state, {}).step(batch);
  EXPECT_NEAR(state.loss, expected.value().item(), 1e-6);
  for (size_t i = 0; i < gradients.size(); ++i)
    EXPECT_TRUE(near(f.model->parameters()[i]->gradient(), gradients[i], 1e-6));
}

TEST(Trainer, LearnsTheColumns) {
  Fixture f(100, 400);
  Trainer(f.state, {}).run(f.loader);
  EXPECT_GT(evaluate(*f.model, f.loader).accuracy, 95.0);
}

TEST(Trainer, StepsComputeWithDenormalsAsZeros) {
  struct Modes : Callback {
    void after_backward(TrainState&) override { modes.insert(denormals_mode()); }
    std::set<uint32_t> modes;
  } look;
  const uint32_t before = denormals_mode();
  Fixture f(2);
  Trainer(f.state, {&look}).run(f.loader);
  f.loader.start_epoch(0);
  Batch batch;
  f.loader.next(batch);
  Trainer(f.state, {&look}).step(batch);
  const FlushDenormals fast;
  EXPECT_EQ(look.modes, std::set<uint32_t>{denormals_mode()});
  EXPECT_EQ(before, 0u) << "a caller's own is as it was";
}

TEST(Trainer, LeavesOutAnUpdateWhereACallbackSaysSo) {
  struct Skip : Callback {
    void after_backward(TrainState& s) override { s.leaves_out_update = s.position.step == 1; }
    void after_update(TrainState& s) override { moved.push_back(s.position.step); }
    std::vector<int64_t> moved;
  } skip;
  Fixture f(3);
  Trainer(f.state, {&skip}).run(f.loader);
  EXPECT_EQ(skip.moved, (std::vector<int64_t>{0, 2}));
  EXPECT_EQ(f.optimizer->steps(), 2);
  EXPECT_EQ(f.position.step, 3);
}

TEST(Trainer, AsksTheSystemForNothingAfterTheFirstStep) {
  Fixture f(50, 400);
  Batch batch;
  f.state.lr = 0.01;
  Trainer trainer(f.state, {});
  f.loader.next(batch);
  trainer.step(batch);
  const auto before = allocator::stats().system_calls;
  while (f.loader.next(batch)) trainer.step(batch);
  EXPECT_EQ(allocator::stats().system_calls, before);
}

TEST(Trainer, ALossThatIsNotFiniteNamesStepLayerAndCheckpoint) {
  Fixture f(6);
  f.state.saved = "runs/x/checkpoint.safetensors (step 1)";
  f.model->find("fc2.weight")->value().f32()[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(message_of([&] { Trainer(f.state, {}).run(f.loader); }),
            "stage 'fit': the loss is nan at step 1 (epoch 1), first seen in fc2.weight; the last good "
            "checkpoint is "
            "runs/x/checkpoint.safetensors (step 1); a lower learning rate or optimizer.clip_norm may help");
}

TEST(Trainer, AnOverflowNamesTheLayerWhoseOutputItIs) {
  Fixture f(6);
  f.model->find("fc1.weight")->value().fill(1.0f);
  f.model->find("fc2.weight")->value().fill(3e38f);
  const std::string message = message_of([&] { Trainer(f.state, {}).run(f.loader); });
  EXPECT_TRUE(
      contains(message, "first seen in the output of fc2 (linear); no checkpoint has been written yet"));
}

/// A perceptron whose second layer has memory for only one image.
struct Crowded : Module {
  Linear& first = add_child<Linear>("first", 16, 8);
  Linear& second = add_child<Linear>("second", 8, 4);
  Variable forward(const Variable& x) override {
    const Variable hidden = first(ops::flatten(x));
    if (x.shape()[0] > 1) throw OutOfMemory("out of memory: 9 MiB asked for", "7 MiB are free");
    return second(hidden);
  }
  std::string type() const override { return "crowded"; }
};

TEST(Trainer, OutOfMemoryNamesTheLayerAndWhereToGoOnFrom) {
  Fixture f(2);
  Crowded crowded;
  TrainState state{.stage = f.name,
                   .config = f.config,
                   .model = crowded,
                   .optimizer = *f.optimizer,
                   .position = f.position,
                   .epoch_steps = 3,
                   .total_steps = 2,
                   .saved = "x (step 0)"};
  EXPECT_EQ(
      message_of([&] { Trainer(state, {}).run(f.loader); }),
      "stage 'fit': out of memory: 9 MiB asked for by second (linear); 7 MiB are free; a smaller data.batch "
      "may fit; the last good checkpoint is x (step 0)");
}

/// A layer after dropout, which writes down the key that the dropout drew by.
struct Drops : Module {
  Linear& layer = add_child<Linear>("layer", 16, 4);
  std::vector<uint64_t> keys;
  Variable forward(const Variable& x) override {
    if (training()) keys.push_back(RandomPass::next_key());
    return layer(ops::dropout(ops::flatten(x), 0.5f, training() ? std::optional(keys.back()) : std::nullopt));
  }
  std::string type() const override { return "drops"; }
};

TEST(Trainer, EveryPassDropsOtherNumbersAndARunThatGoesOnTheSame) {
  const auto keys_of = [](int64_t stage, int64_t first, int64_t steps, uint64_t seed) {
    Fixture f(steps, 20, 10, 2);
    Drops drops;
    const auto optimizer = make_optimizer({.type = "adam"}, drops.parameters());
    f.position.stage = stage;
    f.position.step = first;
    TrainState state{.stage = f.name,
                     .config = f.config,
                     .model = drops,
                     .optimizer = *optimizer,
                     .position = f.position,
                     .epoch_steps = 1,
                     .total_steps = steps,
                     .random = seed};
    Trainer(state, {}).run(f.loader);
    return drops.keys;
  };
  const auto whole = keys_of(0, 0, 3, 1);
  EXPECT_EQ(whole.size(), 6u);  // of two batches each
  EXPECT_EQ(std::set(whole.begin(), whole.end()).size(), 6u);
  EXPECT_EQ(keys_of(0, 2, 3, 1), (std::vector{whole[4], whole[5]}));
  EXPECT_NE(keys_of(1, 0, 3, 1), whole);
  EXPECT_NE(keys_of(0, 0, 3, 2), whole);
}

}  // namespace
}  // namespace espalier
