#include "espalier/run/plan.h"

#include <gtest/gtest.h>

#include "espalier/run/build.h"
#include "run/small.h"

namespace espalier {
namespace {

Plan plan_of(const std::string& stages) {
  const Config config = small_config(stages);
  return make_plan(config, build_data(config, {}));
}

TEST(Plan, CountsBytesAndSteps) {
  const Plan plan =
      plan_of(R"({"name": "a", "train": {"epochs": 2, "optimizer": {"type": "adam", "lr": 0.1}}},
                 {"name": "b", "prune": {"sparsity": 0.5}})");
  const int64_t parameters = 4 * (784 * 16 + 16 + 160 + 10);
  EXPECT_EQ(plan.memory.gradients, parameters);
  EXPECT_EQ(plan.memory.optimizer, 2 * parameters);
  EXPECT_GE(plan.memory.parameters, parameters);
  EXPECT_EQ(plan.memory.data, 10000 * 784);
  ASSERT_EQ(plan.stages.size(), 2u);
  EXPECT_EQ(plan.stages[0].steps, 160);
  EXPECT_EQ(plan.stages[1].steps, 0);
  EXPECT_GT(plan.stages[0].images_per_second, 0.0);
}

// 16 hidden units between 784 pixels and 10 classes: half of them go in one, and of what is left half again
// while the next stage trains.
TEST(Plan, CutsAsARunWould) {
  const std::string cut =
      R"("prune": {"unit": "channel", "criterion": "l2", "ratio": 0.5, "min_channels": 1)";
  const Plan plan = plan_of(R"({"name": "a", )" + cut + R"(}},
      {"name": "b", "train": {"steps": 9, "optimizer": {"type": "sgd", "lr": 0.1}, )" +
                            cut +
                            R"(, "schedule": {"type": "linear", "every": 2}}}},
      {"name": "c", "evaluate": {}})");
  ASSERT_EQ(plan.stages.size(), 3u);
  EXPECT_EQ(plan.stages[0].macs, 8 * (784 + 10));
  EXPECT_EQ(plan.stages[1].macs, 4 * (784 + 10));
  EXPECT_EQ(plan.stages[2].macs, 4 * (784 + 10));
}

TEST(Plan, WarnsOfATargetThatTheNetworkMeets) {
  const auto warned = [](const std::string& target) {
    const auto stages = plan_of(R"({"name": "a", "prune": {"unit": "channel", )" + target + "}}").stages;
    EXPECT_LE(stages.at(0).warnings.size(), 1u);
    return stages[0].warnings.empty() ? "" : stages[0].warnings[0];
  };
  EXPECT_EQ(warned(R"("macs": 20000)"),
            "stage 'a': macs 20,000 is met already, the network has 12,704: nothing is cut");
  EXPECT_TRUE(warned(R"("parameters": 1e6)").ends_with(": nothing is cut"));
  EXPECT_TRUE(warned(R"("bytes": 1e6)").ends_with(": nothing is cut"));
  EXPECT_EQ(warned(R"("macs": 9000)"), "");
  EXPECT_EQ(warned(R"("ratio": 0)"), "") << "advice says so";
  EXPECT_EQ(
      warned(R"("ratio": 0.25, "min_channels": 1, "overrides": [{"layers": ["fc1"], "min_ratio": 0.75}])"),
      "stage 'a': min_ratio takes 12 of 16 channels, ratio 0.25 asks for 4");
  EXPECT_EQ(warned(R"("ratio": 0.25, "min_ratio": 0.25)"), "");
}

// 12,544 and 160 weights.
TEST(Plan, WarnsOfLayersThatHardlyAnythingIsLeftOf) {
  const auto warned = [](const std::string& stages) {
    std::vector<std::string> all;
    for (const StagePlan& stage : plan_of(stages).stages)
      all.insert(all.end(), stage.warnings.begin(), stage.warnings.end());
    return all;
  };
  const std::string train =
      R"({"name": "a", "train": {"steps": 2, "optimizer": {"type": "sgd", "lr": 0.1}}}, )";
  const auto prune = [](const char* scope, const char* more = R"(, "exclude": ["fc2"])") {
    return join(R"({"name": "b", "prune": {"criterion": "random", "sparsity": 0.9995, "scope": ")", scope,
                "\"", more, "}}");
  };
  for (const std::string& stages : {prune("layer"), train + prune("layer"), prune("global")}) {
    const auto lines = warned(stages);
    const bool trained = stages.starts_with(train);
    ASSERT_EQ(lines.size(), trained ? 1u : 2u) << stages;
    EXPECT_TRUE(lines[0].starts_with("stage 'b': layer collapse: fc1 is left with 6 of 12,544 weights, in "));
    if (!trained) {
      EXPECT_TRUE(lines[1].starts_with("stage 'b': dead: 1")) << lines[1];
      EXPECT_TRUE(lines[1].ends_with(" of 784 columns of fc1 have no weight that is not masked")) << lines[1];
    }
  }
  EXPECT_TRUE(warned(train + prune("global", "")).empty()) << "what training makes of it is not known";
  EXPECT_EQ(warned(train + prune("global")),
            (std::vector<std::string>{"stage 'b': layer collapse: fc1 will be left with 6 of 12,544 weights, "
                                      "and has 16 outputs"}))
      << "but that fc1 is ranked by itself is";
}

TEST(Plan, CountsDeadUnitsWhereTheyWereNotMeant) {
  const auto warned = [](const char* unit) {
    return plan_of(join(R"({"name": "b", "prune": {"criterion": "random", "sparsity": 0.5, "unit": ")", unit,
                        R"(", "scope": "layer"}})"))
        .stages[0]
        .warnings;
  };
  EXPECT_TRUE(warned("filter").empty());
  EXPECT_TRUE(warned("column").empty());
}

TEST(Plan, WarnsOfALaterCutThatCannotBeMade) {
  const std::string half = R"({"name": "a", "prune": {"unit": "channel", "ratio": 0.5}}, )";
  const Plan plan = plan_of(half + R"({"name": "b", "prune": {"unit": "channel", "macs": 1}})");
  EXPECT_TRUE(plan.stages.at(0).warnings.empty());
  ASSERT_EQ(plan.stages.at(1).warnings.size(), 1u);
  EXPECT_TRUE(plan.stages[1].warnings[0].starts_with(
      "stage 'b' may fail, as it does with fresh weights: prune: macs 1 cannot be reached: it is 6352 with"))
      << plan.stages[1].warnings[0];
  EXPECT_EQ(plan.stages[1].macs, 8 * (784 + 10)) << "as the first left it";
}

}  // namespace
}  // namespace espalier
