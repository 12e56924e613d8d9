#include "espalier/train/trainer.h"

#include <gtest/gtest.h>

#include <limits>

#include "espalier/core/allocator.h"
#include "support/bad_input.h"
#include "train/small.h"

namespace espalier {
namespace {

struct Fixture {
  explicit Fixture(int64_t steps, int64_t images = 25)
      : data(columns(images, 1)), loader(data, {.batch = 10, .seed = 3}) {
    config.optimizer.type = "adam";
    config.optimizer.lr = 0.01;
    state.epoch_steps = loader.batches();
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
  void after_step(TrainState& s) override { text += std::to_string(s.position.step); }
  void on_epoch_end(TrainState& s) override { text += "|" + std::to_string(s.position.images) + "|"; }
  std::string& text;
};

std::string diary_of(Fixture& f, bool stop_at_once = false) {
  struct Stop : Callback {
    void on_epoch_end(TrainState& s) override { s.stop = true; }
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
  EXPECT_EQ(diary_of(f), "[b1b2b3|25|b4b5b6|25|");
  EXPECT_EQ(f.position.epoch, 2);
}

TEST(Trainer, StopsInTheMiddleOfAnEpochWhenItsStepsAreDone) {
  Fixture f(4);
  EXPECT_EQ(diary_of(f), "[b1b2b3|25|b4|10|");
}

TEST(Trainer, EndsWithTheEpochWhenACallbackStopsIt) {
  Fixture f(9);
  EXPECT_EQ(diary_of(f, true), "[b1b2b3|25|");
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

TEST(Trainer, LearnsTheColumns) {
  Fixture f(100, 400);
  Trainer(f.state, {}).run(f.loader);
  EXPECT_GT(evaluate(*f.model, f.loader).accuracy, 95.0);
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
  EXPECT_EQ(
      message_of([&] { Trainer(f.state, {}).run(f.loader); }),
      "stage fit: the loss is nan at step 1 (epoch 1), first seen in fc2.weight; the last good checkpoint is "
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

}  // namespace
}  // namespace espalier
