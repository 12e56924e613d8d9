#include "espalier/run/methods.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "espalier/nn/models/models.h"
#include "espalier/penalty/penalty.h"
#include "espalier/prune/criterion.h"
#include "espalier/prune/schedule.h"
#include "espalier/run/run.h"
#include "espalier/train/callbacks.h"
#include "espalier/util/input_file.h"
#include "support/bad_input.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

// What Espalier has itself: other tests of this program register more.
const std::vector<std::string> own_methods = methods().names(), own_criteria = criteria().names(),
                               own_penalties = penalties().names(), own_schedules = prune_schedules().names();

/// What the stages of a method have of each.
struct Objects {
  explicit Objects(const MethodInfo& method) {
    for (const Json& stage : Json::parse(method.stages)) {
      if (stage.contains("prune")) pruners.push_back(stage["prune"]);
      if (!stage.contains("train")) continue;
      trainings.push_back(stage["train"]);
      if (stage["train"].contains("prune")) pruners.push_back(stage["train"]["prune"]);
      if (stage["train"].contains("regularize")) penalties.push_back(stage["train"]["regularize"]);
    }
  }
  std::vector<Json> pruners, penalties, trainings;
};

/// "l1", be it written so or as {"type": "l1", ...}.
std::string type_in(const Json& value) {
  return value.is_object() ? value["type"].get<std::string>() : value.get<std::string>();
}

/// Of all rows, what stands at `pointer` of those objects.
std::set<std::string> named_by_rows(std::vector<Json> Objects::*objects, const std::string& pointer) {
  std::set<std::string> names;
  const Json::json_pointer at(pointer);
  for (const MethodInfo& method : methods()) {
    const Objects of(method);
    for (const Json& object : of.*objects)
      if (object.contains(at)) names.insert(type_in(object[at]));
  }
  return names;
}

std::vector<std::string> not_named(const std::vector<std::string>& known,
                                   const std::set<std::string>& named) {
  std::vector<std::string> missing = known;
  std::erase_if(missing, [&](const std::string& name) { return named.contains(name); });
  return missing;
}

TEST(Methods, EachCriterionPenaltyAndScheduleIsOfOne) {
  const std::vector<std::string> none;
  EXPECT_EQ(not_named(own_criteria, named_by_rows(&Objects::pruners, "/criterion")), none)
      << "a criterion that no row of run/methods.cpp names";
  EXPECT_EQ(not_named(own_penalties, named_by_rows(&Objects::penalties, "/type")), none)
      << "a penalty that no row of run/methods.cpp names";
  EXPECT_EQ(not_named(own_schedules, named_by_rows(&Objects::pruners, "/schedule/type")), none)
      << "a schedule of sparsity that no row of run/methods.cpp names";
}

TEST(Methods, HaveDifferentNamesAndPapersWithAYear) {
  std::set<std::string> names;
  for (const MethodInfo& method : methods()) {
    EXPECT_TRUE(names.insert(method.name).second) << method.name;
    EXPECT_EQ(method.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_"), std::string::npos);
    EXPECT_FALSE(method.help.empty()) << method.name;
    const size_t year = method.paper.find_last_of("0123456789");
    EXPECT_TRUE(contains(method.paper, ": ")) << method.name << ": authors, then the title";
    EXPECT_NE(year, std::string::npos) << method.name;
  }
}

TEST(Methods, SayWhatTheyAreMadeOf) {
  EXPECT_EQ(pieces(methods().named("gradual_magnitude")),
            "unit weight, criterion l1, scope layer, schedule cubic");
  EXPECT_EQ(pieces(methods().named("depgraph")),
            "regularize group_norm, unit channel, criterion group_norm, scope global");
  EXPECT_EQ(pieces({.name = "one",
                    .help = "",
                    .paper = "",
                    .stages = R"([{"name": "a", "train": {"epochs": 1, "optimizer": {"type": "sgd", "lr": 1},
                        "schedule": {"type": "cosine"}, "loss": "cross_entropy"}},
                       {"name": "b", "prune": {"unit": "weight", "remove": true, "allow_empty": false,
                        "include": ["fc1"], "sparsity": 0.5}}, {"name": "c", "evaluate": {"flip": true}}])"}),
            "loss cross_entropy, unit weight, remove");
}

TEST(Methods, ExamplesAreOfDataThatFitTheModel) {
  const Json digits = method_config(methods().named("lamp"));
  EXPECT_EQ(digits["name"], "lamp");
  EXPECT_EQ(digits["model"]["type"], "lenet300");
  EXPECT_EQ(digits["data"], (Json{{"type", "mnist"}, {"batch", 64}}));
  EXPECT_EQ(digits["stages"].size(), 3u);
  const Json images = method_config(methods().named("fpgm"));
  EXPECT_EQ(images["model"]["type"], "resnet20");
  EXPECT_EQ(images["data"]["type"], "cifar10");
}

/// Where a test's run is, of which the callback keeps a copy in the middle of each train stage.
std::optional<fs::path> kept_run;
fs::path kept_as(const std::string& stage) { return kept_run->string() + "_" + stage; }

/// As if the process had been killed then: the last checkpoint is of the step before.
class KeepHalf : public Callback {
 public:
  void after_step(TrainState& state) override {
    if (kept_run && state.position.step == state.total_steps / 2 + 1)
      fs::copy(*kept_run, kept_as(state.stage), fs::copy_options::recursive);
  }
};

/// Every train stage a few steps long, on digits, with a checkpoint after each step.
Json shortened(const MethodInfo& method) {
  constexpr int64_t steps = 12;
  Json config = method_config(method);
  if (models().named(method.model).input[2] == 3) config["model"]["input"] = {8, 8, 1};
  config["data"] = {{"type", "synthetic"}, {"train_images", 40}, {"test_images", 16}, {"batch", 8}};
  for (Json& stage : config["stages"]) {
    if (!stage.contains("train")) continue;
    Json& train = stage["train"];
    train.erase("epochs");
    train["steps"] = steps;
    train["checkpoint_every"] = 1e-9;
    train["callbacks"] = {{{"type", "keep_half"}}};
    if (train.contains("regularize") && train["regularize"].contains("every"))
      train["regularize"]["every"] = 2;
    if (train.contains("regularize") && train["regularize"]["type"] == "l1_proximal")
      train["regularize"]["weight"] = 0.5;  // as far in few steps
  }
  return config;
}

class EachMethod : public testing::TestWithParam<std::string> {
 protected:
  const MethodInfo& method() const { return methods().named(GetParam()); }
  static Config read(const Json& config) { return parse_config(config.dump(), "method.json"); }
};

TEST_P(EachMethod, IsAConfigThatNamesItsPiecesAndFitsOtherLengths) {
  const Config config = read(method_config(method()));
  EXPECT_EQ(config.name, method().name);
  const Objects objects(method());
  EXPECT_FALSE(objects.trainings.empty());
  for (const Json& train : objects.trainings) EXPECT_TRUE(train.contains("epochs")) << train;
  for (const Json& pruner : objects.pruners) {
    for (const char* piece : {"unit", "criterion", "scope"}) EXPECT_TRUE(pruner.contains(piece)) << piece;
    if (!pruner.contains("schedule")) continue;
    const Json& schedule = pruner["schedule"];
    const bool places = std::ranges::any_of(std::vector{"begin", "end", "every", "table"},
                                            [&](const char* name) { return schedule.contains(name); });
    EXPECT_EQ(schedule.value("in", "steps"), places ? "share" : "steps") << schedule;
  }
  const std::string made_of = pieces(method());
  for (const Json& pruner : objects.pruners)
    EXPECT_TRUE(contains(made_of, "criterion " + type_in(pruner["criterion"])));
}

TEST_P(EachMethod, TrainsAndGoesOnToTheSameBits) {
  if (!callbacks().find("keep_half"))
    callbacks().add({.name = "keep_half", .help = "", .make = [](const ExtraOptions&) {
                       return std::make_unique<KeepHalf>();
                     }});
  const Config config = read(shortened(method()));
  const TemporaryFolder folder;
  Console console(true);
  const fs::path whole = folder / "run";
  kept_run = whole;
  const RunResult result = run(config, {.output = whole.string(), .data = {}}, console);
  ASSERT_EQ(result.stages.size(), config.stages.size());

  bool smaller = false;
  for (const StageResult& stage : result.stages)
    smaller = smaller || stage.sparsity > 0.1 || stage.macs < result.stages.front().macs;
  EXPECT_TRUE(smaller) << "nothing was pruned";

  for (const StageConfig& stage : config.stages) {
    if (!stage.train) continue;
    const fs::path half = kept_as(stage.name);
    ASSERT_TRUE(fs::exists(half / "checkpoint.safetensors")) << stage.name;
    EXPECT_FALSE(fs::exists(half / "models" / (stage.name + ".safetensors"))) << "the stage was over";
    kept_run.reset();
    run(config, {.output = half.string(), .data = {}, .resume = true}, console);
    for (const StageConfig& each : config.stages) {
      const fs::path model = fs::path("models") / (each.name + ".safetensors");
      EXPECT_TRUE(read_file(half / model) == read_file(whole / model))
          << each.name << " differs, gone on from the middle of " << stage.name;
    }
    kept_run = whole;
  }
  kept_run.reset();
}

INSTANTIATE_TEST_SUITE_P(All, EachMethod, testing::ValuesIn(own_methods),
                         [](const auto& one) { return one.param; });

}  // namespace
}  // namespace espalier
