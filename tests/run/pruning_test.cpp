#include "espalier/run/pruning.h"

#include <gtest/gtest.h>

#include "espalier/data/synthetic.h"
#include "espalier/train/callbacks.h"

#include <csignal>

#include "espalier/core/isa.h"
#include "espalier/data/loader.h"
#include "espalier/nn/models/models.h"
#include "espalier/run/build.h"
#include "espalier/util/interrupt.h"
#include "run/small.h"
#include "support/bad_input.h"

namespace espalier {
namespace {

/// The first stage of a run that prunes by `fields`, on a network that has not learned anything.
struct Case {
  explicit Case(const std::string& fields, const std::string& unit = "channel")
      : config(small_config(R"({"name": "cut", "prune": {"unit": ")" + unit + "\", " + fields + "}}",
                            R"(, "train_images": 64, "test_images": 16)")),
        data(build_data(config, {})),
        model(build_model(config)),
        pruning(config, *config.stages[0].prune, *model, data.train) {}

  PruneResult act() { return pruning.act(pruning.original()); }

  Config config;
  DataSplits data;
  std::unique_ptr<Module> model;
  Pruning pruning;
};

/// The callback of a pruner in a stage of ten steps, which acts once, after the step numbered `at`.
struct Acting {
  Acting(Case& one, int64_t at)
      : optimizer(make_optimizer({}, one.model->parameters())),
        state{.stage = name,
              .config = train,
              .model = *one.model,
              .optimizer = *optimizer,
              .position = position,
              .epoch_steps = 10,
              .total_steps = 10},
        callback(one.pruning, {.type = "one_shot", .begin = at, .end = at}, console) {
    callback.on_stage_begin(state);
  }
  /// So many steps are done.
  void after_step(int64_t steps) {
    position.step = steps;
    callback.after_step(state);
  }

  const std::string name = "stage";
  const TrainConfig train;
  std::unique_ptr<Optimizer> optimizer;
  Position position;
  TrainState state;
  Console console{true};
  PruneCallback callback;
};

TEST(Pruning, ProvesItOnABatchOfTheTrainingImages) {
  Case one(R"("criterion": "l2", "ratio": 0.25, "verify": true)");
  const auto result = one.act();
  ASSERT_TRUE(result.proof);
  EXPECT_TRUE(result.proof->says_something());
  EXPECT_LE(result.proof->largest_difference, 1e-5 * result.proof->largest_output);
  EXPECT_EQ(one.model->find("fc1.weight")->shape()[0], 12);
  EXPECT_FALSE(Case(R"("criterion": "l2", "ratio": 0.25)").act().proof);
}

TEST(Pruning, CriteriaThatLookAtDataSeeItAndLeaveNothingBehind) {
  for (const char* criterion : {"taylor", "obd"}) {
    SCOPED_TRACE(criterion);
    const auto kept = [&](int seed) {
      Case one(join(R"("ratio": 0.5, "batches": 3, "criterion": ")", criterion, "\""));
      one.config.seed = seed;
      one.act();
      for (const Parameter* parameter : one.model->parameters())
        EXPECT_FALSE(parameter->gradient().defined());
      return one.model->history.front().kept;
    };
    EXPECT_EQ(kept(1), kept(1));
    EXPECT_EQ(kept(1).size(), 8u);
  }
}

TEST(Pruning, GoesPartOfTheWay) {
  Case one(R"("criterion": "l1", "ratio": 0.5)");
  const OriginalNetwork original = one.pruning.original();
  EXPECT_EQ(original.channels.at("fc1"), 16);
  const Schedule linear{.type = "linear", .begin = 0, .end = 2};
  one.pruning.act(original, linear, 1);
  EXPECT_EQ(one.model->find("fc1.weight")->shape()[0], 12);
  one.pruning.act(original, linear, 2);
  EXPECT_EQ(one.model->find("fc1.weight")->shape()[0], 8) << "shares are of the original network";
  EXPECT_FALSE(one.pruning.act(original, linear, 3));
}

TEST(Pruning, LatencyIsMeasuredOnThisMachine) {
  Case one(R"("criterion": "l1", "latency_ms": 1000)");
  const auto result = one.act();
  EXPECT_EQ(result.after.macs, one.pruning.original().cost.macs) << "fast enough as it is";
  EXPECT_GT(result.latency_ms, 0);
  EXPECT_LT(result.latency_ms, 1000);
  const std::string message = message_of([] { Case(R"("criterion": "l1", "latency_ms": 1e-9)").act(); });
  const std::string begin = "prune: latency_ms 1e-09 cannot be reached: it is ";
  ASSERT_TRUE(message.starts_with(begin)) << message;
  std::string digits = message.substr(begin.size(), message.find(" with ") - begin.size());
  digits.erase(digits.find_first_of("e ") == digits.npos ? digits.size() : digits.find_first_of("e "));
  std::erase(digits, '.');
  EXPECT_LE(digits.size() - std::min(digits.find_first_not_of('0'), digits.size()), 3u) << message;
}

#if !defined(__SANITIZE_THREAD__)  // which ends a forked process that starts threads
TEST(Pruning, AnInterruptStopsAStageAndLetsATrainingStepFinish) {
  EXPECT_EXIT(  // in a process of its own: a signal stays noted for good
      {
        Case stage(R"("criterion": "taylor", "ratio": 0.5)");
        Case step(R"("criterion": "taylor", "ratio": 0.5)");
        const TrainConfig training;
        Pruning inside(step.config, *step.config.stages[0].prune, *step.model, step.data.train, &training);
        catch_interrupts();
        std::raise(SIGINT);
        inside.act(inside.original());
        if (step.model->find("fc1.weight")->shape()[0] != 8) std::exit(1);
        try {
          stage.act();
        } catch (const Interrupted&) {
          std::exit(stage.model->find("fc1.weight")->shape()[0] == 16 ? 0 : 2);
        }
        std::exit(3);
      },
      testing::ExitedWithCode(0), "");
}
#endif

TEST(Pruning, CutsAtTheStepsOfItsSchedule) {
  Case one(R"("criterion": "l1", "ratio": 0.5)");
  Acting acting(one, 4);
  const TrainState& state = acting.state;
  acting.after_step(4);
  EXPECT_EQ(one.model->find("fc1.weight")->shape()[0], 16) << "nothing is cut yet";
  acting.after_step(5);
  EXPECT_EQ(one.model->find("fc1.weight")->shape()[0], 8);
  EXPECT_EQ(state.macs, one.pruning.original().cost.macs);
  EXPECT_EQ(state.pruned->layers_before[0].channels, 16);
  EXPECT_EQ(state.pruned->layers_after[0].channels, 8);
}

TEST(WidthHint, AsksNoLayerForTheNameOfItsWeight) {
  class Kernels : public Module {
   public:
    explicit Kernels(const Shape& shape) {
      add_parameter("kernel", Role::weight, Tensor::zeros(shape), {FileLayout::oihw});
      history.push_back({"kernel", 0, 16, {0, 1, 2}});
    }
    Variable forward(const Variable& x) override { return x; }
    std::string type() const override { return "kernels"; }
  };
  Kernels convolution({3, 3, 3, 1}), linear({3, 9});
  const PruneConfig prune = *Case(R"("criterion": "l1", "ratio": 0.5)").config.stages[0].prune;
  EXPECT_EQ(width_hint(prune, convolution).empty(), isa() == Isa::baseline);
  EXPECT_EQ(width_hint(prune, linear), "");
}

TEST(Pruning, ALatencyIsMeasuredWithoutATrace) {
  Case one(R"("criterion": "l1", "ratio": 0.5)");
  const auto numbers = [&] {
    std::vector<std::vector<float>> all;
    for (const Parameter* parameter : one.model->parameters()) {
      const auto values = parameter->value().span<float>();
      all.emplace_back(values.begin(), values.end());
    }
    return all;
  };
  one.model->set_training(true);
  const auto before = numbers();
  const OriginalNetwork original = one.pruning.original();
  PruneResult result;
  one.pruning.measure(result, original);
  EXPECT_GT(result.latency_ms, 0);
  EXPECT_EQ(result.latency_before_ms, 0) << "nothing is cut, and the same shapes are as fast";
  EXPECT_EQ(result.latency_speedup(), 1);
  EXPECT_EQ(numbers(), before);
  EXPECT_TRUE(one.model->training());

  one.pruning.act(original);
  const auto after = numbers();
  one.pruning.measure(result, original);
  EXPECT_GT(result.latency_before_ms, 0);
  EXPECT_EQ(result.latency_speedup(), result.latency_before_ms / result.latency_ms);
  EXPECT_EQ(numbers(), after);
}

TEST(PruneSchedule, EndsWithTheStageUnlessToldOtherwise) {
  TrainConfig config;
  const auto model = make_model({.type = "mlp", .hidden = {4}}, 0);
  config.prune =
      PruneConfig{.sparsity = 0.5,
                  .threshold = {},
                  .quantile = {},
                  .include = {},
                  .exclude = {},
                  .schedule = PruneScheduleConfig{.type = "linear", .begin = 0, .end = {}, .every = 4}};
  const Schedule schedule = prune_schedule(config, {.epoch_steps = 5, .steps = 10});
  const GradualPruner pruner(prune_options(*config.prune, 0), schedule);
  const auto step = [&](int64_t at) { return pruner.step(*model, {28, 28, 1}, {}, at); };
  EXPECT_TRUE(step(0) && !step(1) && step(8));
  EXPECT_EQ(step(9)->total().pruned, (784 * 4 + 40) / 2);
}

TEST(PruneSchedule, InEpochsAndSharesOfTheStage) {
  TrainConfig config;
  config.prune.emplace();
  const auto expect = [&](const PruneScheduleConfig& given, int64_t begin, int64_t end, int64_t every) {
    config.prune->schedule = given;
    const Schedule found = prune_schedule(config, {.epoch_steps = 12, .steps = 50});
    EXPECT_EQ(found.begin, begin);
    EXPECT_EQ(found.end, end);
    EXPECT_EQ(found.every, every);
  };
  expect({.type = "cubic", .in = "epochs", .begin = 1, .end = 3, .every = 0.5}, 12, 36, 6);
  expect({.type = "cubic", .in = "epochs", .begin = 1.5, .end = {}, .every = 1}, 18, 49, 12);
  expect({.type = "linear", .in = "share", .begin = 0.1, .end = 1, .every = 0.001}, 5, 49, 1);
  expect({.type = "one_shot", .in = "share", .begin = 0.5, .end = {}}, 25, 25, 5000);
  // Three times 0.23 of 50 steps are 34.5: 11 or 12 at a time would come just before the end.
  expect({.type = "linear", .in = "share", .begin = 0.1, .end = 0.79, .every = 0.23}, 5, 40, 12);
  expect({.type = "linear", .in = "share", .begin = 0, .end = 0.66, .every = 0.22}, 0, 33, 11);
  expect({.type = "linear", .in = "share", .begin = 0.1, .end = 0.7, .every = 0.25}, 5, 35, 13);
}

TEST(PruneOptions, OverridesReplaceTheLimitsTheyName) {
  const Config config = small_config(R"({"name": "a", "prune": {"unit": "channel", "ratio": 0.5,
      "min_channels": 4, "min_ratio": 0.1, "max_ratio": 0.6,
      "overrides": [{"layers": ["fc1"], "max_ratio": 0.9}, {"layers": ["fc2"], "min_channels": 2, "min_ratio": 0.2}]}})");
  const auto overrides = prune_options(*config.stages[0].prune, 0).selection.overrides;
  ASSERT_EQ(overrides.size(), 2u);
  const auto expect = [](const Limits& found, int64_t channels, double min_ratio, double max_ratio) {
    EXPECT_EQ(found.min_channels, channels);
    EXPECT_EQ(found.min_ratio, min_ratio);
    EXPECT_EQ(found.max_ratio, max_ratio);
  };
  expect(overrides[0].limits, 4, 0.1, 0.9);
  expect(overrides[1].limits, 2, 0.2, 0.6);
}

TEST(PruneOptions, TheNormalizerIsTheCriterionsUnlessTheConfigNamesOne) {
  const auto normalizer = [](const std::string& more) {
    const Config config = small_config(
        R"({"name": "a", "prune": {"unit": "channel", "ratio": 0.5, "criterion": "bn_scale")" + more + "}}");
    return prune_options(*config.stages[0].prune, 0).scoring.normalizer;
  };
  EXPECT_EQ(normalizer(""), std::nullopt);
  EXPECT_EQ(normalizer(R"(, "normalizer": "mean")"), Normalizer::mean);
}

TEST(StageCallbacks, StandInTheOrderInWhichTheyAct) {
  if (!callbacks().find("listening"))
    callbacks().add({.name = "listening", .help = "hears", .make = [](const ExtraOptions&) {
                       struct Listening : Callback {
                         std::string name() const override { return "listening"; }
                       };
                       return std::make_unique<Listening>();
                     }});
  const Config config =
      small_config(R"({"name": "a", "train": {"steps": 10, "ema": 0.9, "callbacks": [{"type": "listening"}],
      "optimizer": {"type": "sgd", "lr": 0.1, "clip_norm": 1}, "regularize": {"type": "group_norm"},
      "prune": {"sparsity": 0.5, "schedule": {"type": "one_shot", "begin": 1}}}})");
  const TrainConfig& train = *config.stages[0].train;
  const auto model = build_model(config);
  const DataSplits data = draw_synthetic({.train = 8, .test = 8});
  Console console(true);
  Callback evaluator;
  const StageCallbacks all =
      stage_callbacks(config, train, *model, data.train, Schedule{}, console, evaluator);
  ASSERT_EQ(all.in_order.size(), 6u);
  EXPECT_TRUE(dynamic_cast<RegularizeCallback*>(all.in_order[0]));
  EXPECT_TRUE(dynamic_cast<AverageCallback*>(all.in_order[1]));
  EXPECT_TRUE(dynamic_cast<PruneCallback*>(all.in_order[2]));
  EXPECT_EQ(all.in_order[3], &evaluator);
  EXPECT_EQ(all.in_order[4]->name(), "listening");
  EXPECT_TRUE(dynamic_cast<ClipCallback*>(all.in_order[5]));
}

TEST(ForeseenWarnings, AreOfStagesToComeUpToTheFirstCut) {
  const auto thin = [](const char* name) {
    return join(R"({"name": ")", name, R"(", "prune": {"sparsity": 0.99, "scope": "layer"}})");
  };
  const std::string cut = R"({"name": "cut", "prune": {"unit": "channel", "ratio": 0.25}})";
  const Config config = small_config(thin("a") + ", " + thin("b") + ", " + cut + ", " + thin("c"));
  const auto model = build_model(config);
  const std::string line = "layer collapse: fc2 will be left with 2 of 160 weights, and has 10 outputs";
  EXPECT_EQ(foreseen_warnings(config, *model),
            (std::vector<std::string>{"stage 'a': " + line, "stage 'b': " + line}));
  EXPECT_EQ(foreseen_warnings(config, *model, 1), (std::vector<std::string>{"stage 'b': " + line}));
  EXPECT_TRUE(foreseen_warnings(config, *model, 4).empty());
}

TEST(PruneCallback, RemembersTheNetworkBeforeItsFirstCut) {
  Case one(R"("criterion": "l2", "ratio": 0.5)");
  Acting acting(one, 1);
  const OriginalNetwork original = one.pruning.original();
  acting.after_step(2);
  EXPECT_LT(acting.state.macs, original.cost.macs);
  EXPECT_FALSE(PruneCallback::original_in(acting.position)) << "nothing has been saved";
  acting.position.callbacks["prune"] = acting.callback.state(acting.state);
  const OriginalNetwork saved = PruneCallback::original_in(acting.position).value();
  EXPECT_EQ(saved.cost.macs, original.cost.macs);
  EXPECT_EQ(saved.cost.parameters, original.cost.parameters);
  EXPECT_EQ(saved.cost.bytes, original.cost.bytes);
  EXPECT_EQ(saved.channels, original.channels);
  EXPECT_EQ(saved.parts, original.parts);
  EXPECT_EQ(saved.history, original.history);

  PruneCallback goes_on(one.pruning, {.begin = 5, .end = 5}, acting.console);
  goes_on.restore(acting.position.callbacks["prune"], "x.safetensors");
  goes_on.on_stage_begin(acting.state);
  EXPECT_EQ(goes_on.state(acting.state), acting.position.callbacks["prune"])
      << "not the network as it is now";
  const auto broken = nlohmann::ordered_json::parse(R"({"macs": "many"})");
  const std::string why =
      message_of<Error>([&] { goes_on.restore(broken, "x.safetensors: /callbacks/prune"); });
  EXPECT_NE(why.find("x.safetensors: /callbacks/prune/macs"), std::string::npos) << why;
}

TEST(PruneCallback, MasksAfterTheStepsThatTheScheduleNames) {
  Case one(R"("criterion": "l1", "sparsity": 0.5)", "weight");
  Acting acting(one, 1);
  const TrainState& state = acting.state;
  EXPECT_TRUE(acting.callback.state(state).is_null()) << "masks change no shapes";
  acting.after_step(1);  // step 0 is done
  EXPECT_FALSE(one.model->find("fc1.weight")->mask.defined());
  EXPECT_FALSE(state.pruned);
  acting.after_step(2);
  EXPECT_TRUE(one.model->find("fc1.weight")->mask.defined());
  EXPECT_EQ(sparsity_of(state.pruned->layers_before), 0);
  EXPECT_EQ(sparsity_of(state.pruned->layers_after), 0.5);
  acting.after_step(3);
  EXPECT_FALSE(state.pruned) << "it is of that step only";
}

}  // namespace
}  // namespace espalier
