#include "espalier/train/callbacks.h"

#include <gtest/gtest.h>

#include <csignal>

#include "espalier/channels/surgery.h"
#include "espalier/optim/ema.h"
#include "espalier/run/build.h"
#include "espalier/run/pruning.h"
#include "espalier/train/trainer.h"
#include "espalier/util/interrupt.h"
#include "run/small.h"
#include "support/bad_input.h"

namespace espalier {
namespace {

struct CallbackStage {
  Dataset data = columns(40, 1);
  Loader loader{data, {.batch = 10}};
  std::unique_ptr<Module> model =
      make_model({.type = "mlp", .input = {4, 4, 1}, .classes = 4, .hidden = {8}}, 0);
  TrainConfig config;
  std::unique_ptr<Optimizer> optimizer = make_optimizer({.type = "sgd"}, model->parameters());
  Position position;
  std::string name = "fit";
  Console console{true};
  TrainState state{.stage = name,
                   .config = config,
                   .model = *model,
                   .optimizer = *optimizer,
                   .position = position,
                   .epoch_steps = 4,
                   .total_steps = 40};

  void set_accuracy_of_all_zero_weights() {  // every logit 0: class 0 comes first
    for (Parameter* parameter : model->parameters()) parameter->value().fill(0);
  }
};

TEST(EvaluateCallback, ActsEverySoManyEpochsAndInTheLast) {
  CallbackStage f;
  f.config.eval_every = 3;
  EvaluateCallback callback(f.loader, nullptr, [] {});
  std::string evaluated;
  for (f.position.epoch = 0; f.position.epoch < 10; ++f.position.epoch) {
    f.position.step = 4 * (f.position.epoch + 1);
    callback.on_epoch_end(f.state);
    evaluated += f.state.test ? "x" : "-";
  }
  EXPECT_EQ(evaluated, "--x--x--xx");
}

TEST(EvaluateCallback, KeepsTheBestAndStopsWhenItGetsNoBetter) {
  CallbackStage f;
  f.config.early_stop = EarlyStopConfig{.patience = 2, .min_delta = 0.5};
  int saved = 0;
  EvaluateCallback callback(f.loader, &f.loader, [&] { ++saved; });
  for (int epoch = 0; epoch < 2; ++epoch) {
    callback.on_epoch_end(f.state);
    EXPECT_EQ(f.state.stop, "");
    ++f.position.epoch;
  }
  callback.on_epoch_end(f.state);
  EXPECT_TRUE(contains(f.state.stop, "2 evaluations did no better than "));
  EXPECT_EQ(saved, 1);
  EXPECT_EQ(callback.judgement().best_epoch, 1);
  EXPECT_EQ(callback.judgement().best_accuracy, f.state.validation->accuracy);
}

TEST(EvaluateCallback, OneEvaluationIsOne) {
  CallbackStage f;
  f.config.early_stop = EarlyStopConfig{.patience = 1};
  EvaluateCallback callback(f.loader, &f.loader, [] {});
  callback.on_epoch_end(f.state);
  callback.on_epoch_end(f.state);
  EXPECT_TRUE(f.state.stop.starts_with("1 evaluation did no better than ")) << f.state.stop;
}

TEST(EvaluateCallback, AGainUnderMinDeltaIsTheBestYetButNoReasonToGoOn) {
  CallbackStage f;
  f.config.early_stop = EarlyStopConfig{.patience = 2, .min_delta = 50};
  int saved = 0;
  EvaluateCallback callback(f.loader, &f.loader, [&] { ++saved; });
  callback.on_epoch_end(f.state);
  const double accuracy = callback.judgement().best_accuracy;
  auto remembered = callback.state(f.state);
  remembered["best_accuracy"] = accuracy - 1;  // as if the last evaluation had been a little worse
  callback.restore(remembered, "");
  f.position.epoch = 1;
  callback.on_epoch_end(f.state);
  EXPECT_EQ(saved, 2);
  EXPECT_EQ(callback.judgement().best_epoch, 2);
  EXPECT_EQ(callback.judgement().best_accuracy, accuracy);
  EXPECT_EQ(callback.judgement().stale, 1);
}

TEST(EvaluateCallback, JudgesFromTheEpochAfterTheLastPruning) {
  CallbackStage f;
  const auto best_epoch_with = [&](PruneScheduleConfig schedule) {
    f.position = {};
    f.config.prune = PruneConfig{.sparsity = 0.5,
                                 .threshold = {},
                                 .quantile = {},
                                 .include = {},
                                 .exclude = {},
                                 .schedule = std::move(schedule)};
    f.state.pruning = prune_schedule(f.config, {f.state.epoch_steps, f.state.total_steps});
    EvaluateCallback callback(f.loader, &f.loader, [] {});
    for (f.position.epoch = 0; f.position.epoch < 10; ++f.position.epoch) {
      f.position.step = 4 * (f.position.epoch + 1);
      callback.on_epoch_end(f.state);
    }
    return callback.judgement().best_epoch;
  };
  EXPECT_EQ(best_epoch_with({.type = "one_shot", .begin = 0, .end = {}}), 1);
  EXPECT_EQ(best_epoch_with({.type = "one_shot", .begin = 5, .end = {}}), 2);
  EXPECT_EQ(best_epoch_with({.type = "cubic", .begin = 0, .end = 12}), 4);
  EXPECT_EQ(best_epoch_with({.type = "cubic", .begin = 0, .end = {}}), 10);
}

TEST(Callbacks, RememberUnderTheirNames) {
  CallbackStage f;
  const Shape input{4, 4, 1};
  RegularizeCallback regularize(make_penalty(*f.model, input, {.type = "greg1"}));
  EvaluateCallback evaluate(f.loader, &f.loader, [] {});
  struct Own : Callback {
    std::string name() const override { return "own"; }
    nlohmann::ordered_json state(const TrainState&) override { return count; }
    void restore(const nlohmann::ordered_json& state, const std::string&) override { count = state; }
    int count = 0;
  } own;
  own.count = 3;
  const Trainer trainer(f.state, {&regularize, &evaluate, &own});
  f.position.callbacks["regularize"] = {{"chosen", {{"fc1", {3, 7}}}}};
  regularize.restore(f.position.callbacks["regularize"], "");
  regularize.on_stage_begin(f.state);
  f.state.remember();
  EXPECT_EQ(f.position.callbacks.at("own"), 3);
  EXPECT_EQ(f.position.callbacks.at("regularize").dump(), R"({"chosen":{"fc1":[3,7]}})");
  EXPECT_EQ(Judgement::in(f.position).best_epoch, 0);
  cut(*f.model,
      {{"fc1.weight", 0, 8, {0, 1, 2}}, {"fc1.bias", 0, 8, {0, 1, 2}}, {"fc2.weight", 1, 8, {0, 1, 2}}});
  f.state.remember();
  EXPECT_EQ(f.position.callbacks.at("regularize").dump(), R"({"chosen":{}})")
      << "channel 7 is no more; a checkpoint must not say it is";
  EXPECT_EQ(RegularizeCallback(make_penalty(*f.model, input, {.type = "l1"})).state(f.state).dump(),
            R"({"chosen":{}})")
      << "as older versions expect it of any penalty";
  EXPECT_TRUE(contains(message_of([&] { evaluate.restore({{"best_epoch", -1}}, "here"); }), "here"));

  // In a run they have it back before the stage begins.
  own.count = 0;
  f.state.total_steps = 0;
  Trainer(f.state, {&own}).run(f.loader);
  EXPECT_EQ(own.count, 3);
}

TEST(EvaluateCallback, EvaluatesTheMovingAverageInThePlaceOfTheWeights) {
  CallbackStage f;
  start_average(f.optimizer->parameters());
  const double of_average = evaluate(*f.model, f.loader).loss;
  f.set_accuracy_of_all_zero_weights();
  EvaluateCallback(f.loader, nullptr, [] {}).on_epoch_end(f.state);
  f.position.step = 40;
  EvaluateCallback(f.loader, nullptr, [] {}).on_epoch_end(f.state);
  EXPECT_EQ(f.state.test->loss, of_average);
  EXPECT_EQ(f.model->parameters()[0]->value().f32()[0], 0.0f);
}

TEST(ClipCallback, ScalesTheStepByTheNormOfWhatCameBefore) {
  CallbackStage f;
  for (Parameter* parameter : f.optimizer->parameters())
    parameter->gradient() = Tensor::zeros(parameter->shape());
  Parameter& bias = *f.model->find("fc1.bias");
  bias.gradient().f32()[0] = 3;
  bias.gradient().f32()[1] = 4;
  ClipCallback(0.5).after_backward(f.state);
  EXPECT_NEAR(f.state.gradient_scale.item(), 0.1, 1e-6);
  EXPECT_EQ(bias.gradient().f32()[1], 4.0f) << "scaled as the step reads it";
  ClipCallback(50).after_backward(f.state);
  EXPECT_EQ(f.state.gradient_scale.item(), 1.0f);
}

TEST(StepCallbacks, AreThoseThatTheConfigAsksFor) {
  TrainConfig config;
  EXPECT_TRUE(step_callbacks(config).empty());
  config.ema = 0.9;
  config.optimizer.clip_norm = 1;
  const auto both = step_callbacks(config);
  ASSERT_EQ(both.size(), 2u);
  EXPECT_TRUE(dynamic_cast<AverageCallback*>(both[0].get()));
  EXPECT_TRUE(dynamic_cast<ClipCallback*>(both[1].get()));
}

/// Remembers a number until there is none any more.
struct Remembering : Callback {
  explicit Remembering(std::string as) : called(std::move(as)) {}
  std::string name() const override { return called; }
  nlohmann::ordered_json state(const TrainState&) override { return number; }
  std::string called;
  nlohmann::ordered_json number = 7;
};

TEST(Trainer, KeepsWhatCallbacksRememberUntilTheyRememberNothing) {
  CallbackStage f;
  Remembering one("one");
  Trainer trainer(f.state, {&one});
  f.state.remember();
  EXPECT_EQ(f.position.callbacks["one"], 7);
  one.number = nullptr;
  f.state.remember();
  EXPECT_FALSE(f.position.callbacks.contains("one"));
}

TEST(Trainer, RefusesTwoCallbacksOfOneName) {
  CallbackStage f;
  Remembering one("same"), two("same"), silent(""), silent_too("");
  EXPECT_NE(message_of<UsageError>([&] {
              Trainer(f.state, {&one, &two});
            }).find("two callbacks are called 'same'"),
            std::string::npos);
  Trainer(f.state, {&one, &silent, &silent_too});
}

TEST(AverageCallback, StartsFollowsAndTakesTheWeightsPlace) {
  CallbackStage f;
  AverageCallback callback(0.75);
  const Parameter& weight = *f.model->find("fc1.weight");
  for (Parameter* parameter : f.optimizer->parameters()) parameter->value().fill(1);
  callback.on_stage_begin(f.state);
  for (Parameter* parameter : f.optimizer->parameters()) parameter->value().fill(5);
  callback.after_update(f.state);
  EXPECT_EQ(weight.state_of("average").f32()[0], 2.0f) << "0.75 * 1 + 0.25 * 5";
  f.position.step = 1;
  callback.on_stage_begin(f.state);  // as the stage goes on
  EXPECT_EQ(weight.state_of("average").f32()[0], 2.0f);
  callback.on_stage_end(f.state);
  EXPECT_EQ(weight.value().f32()[0], 2.0f);
  EXPECT_TRUE(weight.state.empty());
}

TEST(SaveCallback, SavesAtTheEpochsLastStepAndAtTheStages) {
  CallbackStage f;
  f.state.total_steps = 6;
  std::string saved;
  SaveCallback callback([&] { saved += std::to_string(f.position.step) + " "; }, "place");
  callback.on_stage_begin(f.state);
  for (int64_t step = 1; step <= 6; ++step) {
    f.position.step = step;
    f.position.batch = (step - 1) % 4 + 1;
    callback.after_step(f.state);
  }
  EXPECT_EQ(saved, "4 6 ");
  EXPECT_EQ(f.state.saved, "place (step 6)");
}

TEST(SaveCallback, SavesAndThrowsWhenASignalHasCome) {
  // In a process of its own: a signal stays noted for good.
  EXPECT_EXIT(
      {
        CallbackStage f;
        bool saved = false;
        SaveCallback callback([&] { saved = true; }, "place");
        callback.on_stage_begin(f.state);
        f.position.step = f.position.batch = 1;
        catch_interrupts();
        callback.after_step(f.state);
        if (saved) std::exit(1);
        std::raise(SIGTERM);
        try {
          callback.after_step(f.state);
        } catch (const Interrupted& interrupted) {
          std::exit(saved ? interrupted.signal() : 2);
        }
        std::exit(3);
      },
      testing::ExitedWithCode(SIGTERM), "");
}

TEST(NamedCallbacks, KeepStateUnderNamesOfTheirOwn) {
  struct Named : Callback {
    explicit Named(std::string of) : of_(std::move(of)) {}
    std::string name() const override { return of_; }
    std::string of_;
  };
  for (const char* name : {"distill", "evaluate", "metrics", "prune", "regularize", "its_own"}) {
    const std::string row = std::string("keeps_") + name;
    callbacks().add({.name = row, .help = "", .make = [=](const ExtraOptions&) {
                       return std::make_unique<Named>(name);
                     }});
    TrainConfig config;
    config.callbacks = {{.type = row, .extra = {}}};
    if (name == std::string("its_own")) {
      EXPECT_EQ(named_callbacks(config).size(), 1u);
      continue;
    }
    EXPECT_EQ(message_of<UsageError>([&] { named_callbacks(config); }),
              "callback " + row + ": its state is called '" + name + "', as that of one of Espalier's");
  }
}

}  // namespace
}  // namespace espalier
