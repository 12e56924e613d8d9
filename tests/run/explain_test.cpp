#include "espalier/run/explain.h"

#include <gtest/gtest.h>

#include "espalier/run/build.h"
#include "espalier/run/pruning.h"
#include "run/small.h"
#include "support/bad_input.h"

namespace espalier {
namespace {

/// A config, its data, and a network that has not learned anything.
struct Explained {
  explicit Explained(const std::string& stages)
      : config(small_config(stages, R"(, "train_images": 64, "test_images": 16)")),
        data(build_data(config, {})),
        model(build_model(config)) {}
  Explanation of(size_t stage, std::optional<int64_t> step = {}) {
    return explain_stage(config, stage, *model, data.train, step);
  }

  Config config;
  DataSplits data;
  std::unique_ptr<Module> model;
};

std::string pruned_by(const std::string& fields) {
  return R"({"name": "pruned", "prune": {)" + fields + "}}";
}
std::string gradual_by(const std::string& fields, const std::string& schedule) {
  return R"({"name": "gradual", "train": {"steps": 10, "optimizer": {"type": "sgd", "lr": 0.1}, "prune": {)" +
         fields + R"(, "schedule": )" + schedule + "}}}";
}
const std::string in_fours = R"({"type": "linear", "begin": 0, "end": 8, "every": 4})";

TEST(Explain, IsTheResultOfTheRunsPruner) {
  Explained one(pruned_by(R"("sparsity": 0.5)")), other(pruned_by(R"("sparsity": 0.5)"));
  const Explanation explanation = one.of(0);
  const Pruning pruning(other.config, *other.config.stages[0].prune, *other.model, other.data.train);
  const PruneResult expected = pruning.act(pruning.original());
  ASSERT_EQ(explanation.result.layers.size(), 2u);
  for (size_t i = 0; i < 2; ++i) EXPECT_EQ(explanation.result.layers[i].pruned, expected.layers[i].pruned);
  EXPECT_EQ(explanation.result.total().pruned, 6352);
  EXPECT_EQ(explanation.result.scores.size(), 2u);
  EXPECT_TRUE(expected.scores.empty());
  EXPECT_EQ(target_text(explanation), "sparsity 0.5");
  EXPECT_FALSE(explanation.schedule || explanation.step);
  EXPECT_TRUE(explanation.left_out.empty());
}

TEST(Explain, OfAScheduleItIsTheEndOrAStep) {
  Explained end(gradual_by(R"("sparsity": 0.8)", in_fours)), step(gradual_by(R"("sparsity": 0.8)", in_fours));
  const Explanation last = end.of(0);
  EXPECT_EQ(last.result.total().pruned, std::llround(0.8 * 12704));
  EXPECT_EQ(last.schedule.value().type, "linear");
  EXPECT_EQ(target_text(last), "sparsity 0.8");
  const Explanation middle = step.of(0, 4);
  EXPECT_EQ(middle.result.total().pruned, std::llround(0.4 * 12704));
  EXPECT_EQ(target_text(middle), "sparsity 0.4 of 0.8");
  EXPECT_EQ(message_of<UsageError>([&] { step.of(0, 5); }),
            "small.json: stage 'gradual': its schedule does not act at step 5, but at steps 0 to 8, every 4 "
            "(from 0)");
  EXPECT_EQ(message_of<UsageError>([] { Explained(pruned_by(R"("sparsity": 0.5)")).of(0, 0); }),
            "small.json: stage 'pruned': prunes at once, and has no step 0");
}

TEST(Explain, OfChannelsOnTheWay) {
  Explained one(gradual_by(R"("unit": "channel", "criterion": "taylor", "ratio": 0.5)", in_fours));
  const Explanation explanation = one.of(0, 4);
  EXPECT_EQ(explanation.result.total().pruned, 4) << "a quarter of 16";
  EXPECT_EQ(target_text(explanation), "ratio 0.5, 50 % of the way");
  ASSERT_EQ(explanation.left_out.size(), 1u);
  EXPECT_EQ(explanation.left_out[0].why, "its channels are the network's output");
}

TEST(Explain, SaysWhatTheTargetOfNOfMIs) {
  EXPECT_EQ(target_text(Explained(pruned_by(R"("unit": "2:4")")).of(0)), "2 of each 4 stay");
}

TEST(Explain, WarnsOfWhatIsLeftAndOfWhatTheTargetHardlyMeans) {
  Explained one(pruned_by(R"("sparsity": 0.9999, "scope": "layer", "exclude": ["fc2"])"));
  const Explanation explanation = one.of(0);
  EXPECT_EQ(
      explanation.warnings,
      (std::vector<std::string>{"layer collapse: fc1 is left with 1 of 12,544 weights, in 1 of 16 filters"}));
  ASSERT_EQ(explanation.dead.size(), 1u);
  EXPECT_EQ(explanation.dead[0].filters, 15);
  EXPECT_EQ(explanation.dead[0].columns, 783);
  EXPECT_EQ(
      Explained(pruned_by(R"("unit": "channel", "macs": 1000000)")).of(0).warnings,
      (std::vector<std::string>{"macs 1,000,000 is met already, the network has 12,704: nothing is cut"}));
}

TEST(Explain, ErrorsNameTheStage) {
  EXPECT_EQ(message_of([] { Explained(pruned_by(R"("sparsity": 0.5, "include": ["fc3"])")).of(0); }),
            "small.json: stage 'pruned': prune: include 'fc3' names no convolution or linear layer, known: "
            "fc1, fc2, did you mean 'fc1'?");
}

TEST(StageThatPrunes, IsTheFirstOrTheOneThatIsNamed) {
  const std::string dense =
      R"({"name": "dense", "train": {"steps": 1, "optimizer": {"type": "sgd", "lr": 0.1}}}, )";
  const Config config = small_config(dense + pruned_by(R"("sparsity": 0.5)") + ", " +
                                     gradual_by(R"("sparsity": 0.8)", in_fours));
  EXPECT_EQ(stage_that_prunes(config, {}), 1u);
  EXPECT_EQ(stage_that_prunes(config, "gradual"), 2u);
  EXPECT_EQ(message_of<UsageError>([&] { stage_that_prunes(config, "dense"); }),
            "small.json: stage 'dense' does not prune; those that do: pruned, gradual");
  EXPECT_EQ(message_of<UsageError>([&] { stage_that_prunes(config, "prund"); }),
            "small.json: no stage 'prund', did you mean 'pruned'?");
  EXPECT_EQ(
      message_of<UsageError>([] { stage_that_prunes(small_config(R"({"name": "e", "evaluate": {}})"), {}); }),
      "small.json: no stage prunes");
}

TEST(LooksAtData, IsWhatItsCriterionNeeds) {
  PruneConfig prune;
  EXPECT_FALSE(looks_at_data(prune));
  prune.criterion.type = "obd";
  EXPECT_TRUE(looks_at_data(prune));
}

}  // namespace
}  // namespace espalier
