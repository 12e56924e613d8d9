#include "espalier/train/channel_pruning.h"

#include <gtest/gtest.h>

#include <csignal>

#include "espalier/core/interrupt.h"
#include "espalier/core/isa.h"
#include "espalier/data/loader.h"
#include "espalier/train/build.h"
#include "support/bad_input.h"
#include "train/small.h"

namespace espalier {
namespace {

/// The first stage of a run that prunes by `fields`, on a network that has not learned anything.
struct Case {
  explicit Case(const std::string& fields)
      : config(small_config(R"({"name": "cut", "prune": {"unit": "channel", )" + fields + "}}",
                            R"(, "train_images": 64, "test_images": 16)")),
        data(build_data(config, {})),
        model(build_model(config)),
        pruning(config, *config.stages[0].prune, *model, data.train, true) {}

  ChannelPruneResult act(double progress = 1.0) { return pruning.act(pruning.whole(), progress); }

  Config config;
  DataSplits data;
  std::unique_ptr<Module> model;
  ChannelPruning pruning;
};

TEST(ChannelPruning, ProvesItOnABatchOfTheTrainingImages) {
  Case one(R"("criterion": "l2", "ratio": 0.25, "verify": true)");
  const auto result = one.act();
  ASSERT_TRUE(result.proof);
  EXPECT_TRUE(result.proof->says_something());
  EXPECT_LE(result.proof->largest_difference, 1e-5 * result.proof->largest_output);
  EXPECT_EQ(one.model->find("fc1.weight")->shape()[0], 12);
  EXPECT_FALSE(Case(R"("criterion": "l2", "ratio": 0.25)").act().proof);
}

TEST(ChannelPruning, CriteriaThatLookAtDataSeeItAndLeaveNothingBehind) {
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

TEST(ChannelPruning, GoesPartOfTheWay) {
  Case one(R"("criterion": "l1", "ratio": 0.5)");
  const WholeNetwork whole = one.pruning.whole();
  EXPECT_EQ(whole.channels.at("fc1"), 16);
  one.pruning.act(whole, 0.5);
  EXPECT_EQ(one.model->find("fc1.weight")->shape()[0], 12);
  one.pruning.act(whole, 1.0);
  EXPECT_EQ(one.model->find("fc1.weight")->shape()[0], 8) << "shares are of the whole network";
}

TEST(ChannelPruning, LatencyIsMeasuredOnThisMachine) {
  Case one(R"("criterion": "l1", "latency_ms": 1000)");
  const auto result = one.act();
  EXPECT_EQ(result.after.macs, one.pruning.whole().cost.macs) << "fast enough as it is";
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
TEST(ChannelPruning, AnInterruptStopsAStageAndLetsATrainingStepFinish) {
  EXPECT_EXIT(  // in a process of its own: a signal stays noted for good
      {
        Case stage(R"("criterion": "taylor", "ratio": 0.5)");
        Case step(R"("criterion": "taylor", "ratio": 0.5)");
        ChannelPruning inside(step.config, *step.config.stages[0].prune, *step.model, step.data.train, false);
        catch_interrupts();
        std::raise(SIGINT);
        inside.act(inside.whole());
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

TEST(ChannelPruning, CutsAtTheStepsOfItsSchedule) {
  Case one(R"("criterion": "l1", "ratio": 0.5)");
  const auto optimizer = make_optimizer({}, one.model->parameters());
  const TrainConfig train;
  Position position;
  TrainState state{.stage = "cut",
                   .config = train,
                   .model = *one.model,
                   .optimizer = *optimizer,
                   .position = position,
                   .epoch_steps = 10,
                   .total_steps = 10};
  Console console(true);
  ChannelPruneCallback callback(one.pruning, {.kind = Schedule::one_shot, .begin = 4, .end = 4}, console);
  callback.on_stage_begin(state);
  position.step = 4;
  callback.after_step(state);
  EXPECT_EQ(one.model->find("fc1.weight")->shape()[0], 16) << "nothing is cut yet";
  position.step = 5;
  callback.after_step(state);
  EXPECT_EQ(one.model->find("fc1.weight")->shape()[0], 8);
  EXPECT_EQ(state.macs, one.pruning.whole().cost.macs);
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

TEST(ChannelPruning, ALatencyIsMeasuredWithoutATrace) {
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
  const WholeNetwork whole = one.pruning.whole();
  ChannelPruneResult result;
  one.pruning.measure(result, whole);
  EXPECT_GT(result.latency_ms, 0);
  EXPECT_EQ(result.latency_before_ms, 0) << "nothing is cut, and the same shapes are as fast";
  EXPECT_EQ(result.latency_speedup(), 1);
  EXPECT_EQ(numbers(), before);
  EXPECT_TRUE(one.model->training());

  one.pruning.act(whole);
  const auto after = numbers();
  one.pruning.measure(result, whole);
  EXPECT_GT(result.latency_before_ms, 0);
  EXPECT_EQ(result.latency_speedup(), result.latency_before_ms / result.latency_ms);
  EXPECT_EQ(numbers(), after);
}

}  // namespace
}  // namespace espalier
