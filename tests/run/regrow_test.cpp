// Masks that move while a stage trains, from the config to the run's files.
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "espalier/formats/safetensors.h"
#include "espalier/run/build.h"
#include "espalier/run/checkpoint.h"
#include "espalier/run/pruning.h"
#include "espalier/run/run.h"
#include "espalier/train/callbacks.h"
#include "espalier/train/regrow_callback.h"
#include "espalier/util/input_file.h"
#include "espalier/util/spelling.h"
#include "run/minimal_config.h"
#include "run/small.h"
#include "support/bad_input.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

using Json = nlohmann::ordered_json;

int64_t stops_at = 0;  // step after which a stage that says so is broken off; 0: none

/// A callback that configs name "breaks_off".
void register_break() {
  if (callbacks().find("breaks_off")) return;
  callbacks().add({.name = "breaks_off", .help = "fails", .make = [](const ExtraOptions&) {
                     struct BreaksOff : Callback {
                       void after_step(TrainState& s) override {
                         // What is saved is the step before: the checkpoint comes after this.
                         if (stops_at > 0 && s.position.step == stops_at + 1) fail("broken off");
                       }
                     };
                     return std::make_unique<BreaksOff>();
                   }});
}

/// Weights pruned at random, then a stage of 60 steps with that `regrow`, and what else `train` says.
Config moving(const std::string& regrow, const std::string& train = "", const std::string& before = "") {
  register_break();
  const std::string first =
      before.empty()
          ? R"({"name": "sparse", "prune": {"criterion": "random", "scope": "layer", "sparsity": 0.9}},)"
          : before;
  return small_config((before == "none" ? "" : first) +
                      R"({"name": "moving", "train": {"steps": 60, "log_every": 7, "ema": 0.8,
      "optimizer": {"type": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4, "clip_norm": 5},
      "checkpoint_every": 1e-9, "callbacks": [{"type": "breaks_off"}])" +
                      (regrow.empty() ? "" : R"(, "regrow": )" + regrow) + train + "}}");
}

RunResult run_here(const TemporaryFolder& folder, const Config& config, bool resume = false) {
  Console console(true);
  return run(config, {.output = (folder.path() / "run").string(), .data = {}, .resume = resume}, console);
}

/// All rows of metrics, without times.
std::vector<Json> rows_of(const TemporaryFolder& folder) {
  std::vector<Json> rows;
  std::istringstream text(read_file(folder.path() / "run" / "metrics.jsonl"));
  for (std::string row; std::getline(text, row);) {
    rows.push_back(Json::parse(row));
    rows.back().erase("seconds");
    rows.back().erase("data_seconds");
  }
  return rows;
}

/// The tensors of a run's file, as bytes by name.
std::map<std::string, std::string> tensors_of(const TemporaryFolder& folder, const std::string& file) {
  std::map<std::string, std::string> bytes;
  const TensorFile found = read_safetensors(folder.path() / "run" / file);
  for (const auto& [name, tensor] : found.tensors)
    bytes[name] = std::string(static_cast<const char*>(tensor.raw()), tensor.bytes());
  return bytes;
}

/// Weights that no mask of the run's keeps.
int64_t masked(const TemporaryFolder& folder) {
  int64_t zeros = 0;
  for (const auto& [name, mask] : tensors_of(folder, "checkpoint.safetensors"))
    if (name.starts_with("mask/")) zeros += std::ranges::count(mask, '\0');
  return zeros;
}

const std::string moves_every_7 = R"("every": 7, "end": 50})";
const std::vector<std::pair<std::string, std::string>> methods = {
    {"set", R"({"type": "set", "share": 0.1, )" + moves_every_7},
    {"rigl", R"({"type": "rigl", )" + moves_every_7},
    {"sparse_momentum", R"({"type": "sparse_momentum", "in": "steps", )" + moves_every_7},
    {"straight_through", R"({"type": "straight_through", )" + moves_every_7},
    {"top_kast", R"({"type": "top_kast", )" + moves_every_7}};
constexpr int64_t weights = 784 * 16 + 16 * 10;
const int64_t zeros = std::llround(0.9 * 784 * 16) + std::llround(0.9 * 160);

TEST(RegrowRun, KeepsAsManyWeightsAndLearns) {
  for (const auto& [name, regrow] : methods) {
    SCOPED_TRACE(name);
    const TemporaryFolder folder;
    const RunResult result = run_here(folder, moving(regrow));
    EXPECT_EQ(result.stages[0].parameters - result.stages[0].nonzeros, zeros);
    EXPECT_EQ(masked(folder), zeros);
    EXPECT_GE(result.stages[1].parameters - result.stages[1].nonzeros, zeros)
        << "more where weights of pixels that are always black have grown";
    EXPECT_LT(result.stages[1].loss, result.stages[0].loss);
    const auto opened = open_checkpoint(folder.path() / "run" / "models" / "moving.safetensors").model;
    for (const char* layer : {"fc1.weight", "fc2.weight"}) {
      const Parameter& p = *opened->find(layer);
      EXPECT_TRUE(p.mask.defined()) << layer;
      EXPECT_TRUE(p.state.empty()) << layer;
    }
    for (const auto& [tensor, bytes] : tensors_of(folder, "checkpoint.safetensors"))
      EXPECT_FALSE(tensor.starts_with("unmasked_")) << tensor;
  }
}

TEST(RegrowRun, ARowOfMetricsSaysHowMasksMoved) {
  const TemporaryFolder folder;
  run_here(folder, moving(methods[1].second));
  std::vector<int64_t> steps;
  for (const Json& row : rows_of(folder)) {
    if (!row.contains("regrow")) continue;
    steps.push_back(row["step"]);
    EXPECT_EQ(row["stage"], "moving");
    EXPECT_EQ(row["sparsity"], static_cast<double>(zeros) / static_cast<double>(weights));
    EXPECT_EQ(row["macs"], weights);
    EXPECT_EQ(row["regrow"]["type"], "rigl");
    ASSERT_EQ(row["regrow"]["layers"].size(), 2u);
    const Json& layer = row["regrow"]["layers"][0];
    EXPECT_EQ(layer["name"], "fc1");
    EXPECT_EQ(layer["weights"], 784 * 16);
    EXPECT_EQ(layer["active"], 784 * 16 - std::llround(0.9 * 784 * 16));
    EXPECT_EQ(layer["dropped"], layer["grown"]);
    if (steps.size() == 1) {
      EXPECT_EQ(layer["dropped"], 376) << "0.3 of 1254";
    }
  }
  EXPECT_EQ(steps, (std::vector<int64_t>{1, 8, 15, 22, 29, 36, 43, 50}));
}

TEST(RegrowRun, MovesThatAreCloserThanRowsHaveOneWithTheStepsOwn) {
  const TemporaryFolder folder;
  run_here(folder, moving(R"({"type": "set", "every": 3, "end": 45})"));
  std::vector<int64_t> steps;
  for (const Json& row : rows_of(folder))
    if (row.contains("regrow")) steps.push_back(row["step"]);
  EXPECT_EQ(steps, (std::vector<int64_t>{7, 28})) << "of 1, 4, 7, ..., 46 those of every 7";
}

TEST(RegrowRun, GoesOnToTheSameBitsWhereverItWasStopped) {
  for (const auto& [name, regrow] : methods) {
    const TemporaryFolder whole;
    stops_at = 0;
    run_here(whole, moving(regrow));
    for (const int64_t at : {1, 7, 8, 50}) {  // masks move after steps 1, 8, 15, ...
      SCOPED_TRACE(name + " stopped after step " + std::to_string(at));
      const TemporaryFolder parted;
      stops_at = at;
      EXPECT_EQ(message_of<Error>([&] { run_here(parted, moving(regrow)); }), "broken off");
      const auto position = read_checkpoint_info(parted.path() / "run" / "checkpoint.safetensors").position;
      EXPECT_EQ(position->step, at);
      stops_at = 0;
      run_here(parted, moving(regrow), true);
      for (const char* file : {"checkpoint.safetensors", "models/moving.safetensors"})
        EXPECT_EQ(tensors_of(parted, file), tensors_of(whole, file)) << file;
      EXPECT_EQ(rows_of(parted), rows_of(whole));
    }
  }
}

// --- With a pruner in the same stage ---

const std::string granet =
    R"(, "prune": {"scope": "layer", "sparsity": 0.9, "schedule": {"type": "cubic", "initial": 0.5, "begin": 0, "end": 42, "every": 7}})";

TEST(RegrowRun, PruningGoesFirstAndWhatHasGrownIsNotPruned) {
  const TemporaryFolder folder;
  const Config config = moving(methods[1].second, granet, "none");
  const RunResult result = run_here(folder, config);
  EXPECT_EQ(masked(folder), zeros);
  EXPECT_GT(result.stages[0].accuracy, 40);
  // In steps in which both act the pruner's row comes first, and regrowth moves what it left.
  const Schedule schedule = prune_schedule(*config.stages[0].train, {80, 60});
  int both = 0;
  std::optional<Json> pruned;
  for (const Json& row : rows_of(folder)) {
    if (row.contains("prune")) pruned = row;
    if (!row.contains("regrow")) continue;
    const int64_t step = row["step"].get<int64_t>() - 1;
    const double sparsity = schedule.sparsity_at(step, 0.9);
    for (size_t l = 0; l < 2; ++l) {
      const Json& layer = row["regrow"]["layers"][l];
      const int64_t all = layer["weights"];
      EXPECT_EQ(layer["active"], all - std::llround(sparsity * static_cast<double>(all))) << step;
      if (pruned && (*pruned)["step"] == row["step"]) {
        EXPECT_EQ((*pruned)["prune"]["layers"][l]["nonzeros"]["after"], layer["active"]);
        ++both;
      }
    }
  }
  EXPECT_GT(both, 0);
}

TEST(RegrowRun, PrunedAndRegrownItGoesOnToTheSameBits) {
  for (const char* criterion : {"l1", "taylor"}) {
    std::string prune = granet;
    prune.insert(prune.find("{") + 1, join(R"("criterion": ")", criterion, "\", "));
    const TemporaryFolder whole;
    stops_at = 0;
    run_here(whole, moving(methods[1].second, prune, "none"));
    for (const int64_t at : {1, 8, 43}) {
      const TemporaryFolder parted;
      stops_at = at;
      EXPECT_EQ(message_of<Error>([&] { run_here(parted, moving(methods[1].second, prune, "none")); }),
                "broken off");
      stops_at = 0;
      run_here(parted, moving(methods[1].second, prune, "none"), true);
      EXPECT_EQ(tensors_of(parted, "checkpoint.safetensors"), tensors_of(whole, "checkpoint.safetensors"))
          << criterion << ", stopped after step " << at;
      EXPECT_EQ(rows_of(parted), rows_of(whole));
    }
  }
}

TEST(RegrowRun, AllWeightsThatAPrunerInTheSameStageMasksAreKept) {
  // straight_through from weights that are all there: the mask takes the value, and what it masks may come
  // back.
  const TemporaryFolder folder;
  const RunResult result = run_here(
      folder,
      moving(R"({"type": "straight_through"})",
             R"(, "prune": {"scope": "layer", "sparsity": 0.9, "schedule": {"type": "one_shot"}})", "none"));
  EXPECT_EQ(masked(folder), zeros);
  EXPECT_GT(result.stages[0].accuracy, 40);
}

// --- Masks that move and others ---

TEST(RegrowRun, StaticSparseTrainingNeedsNone) {
  const TemporaryFolder folder;
  const RunResult result = run_here(folder, moving(""));
  EXPECT_EQ(result.stages[1].parameters - result.stages[1].nonzeros, zeros);
  EXPECT_EQ(tensors_of(folder, "checkpoint.safetensors").contains("unmasked_value/fc1.weight"), false);
}

TEST(RegrowRun, MasksOfWeightsThatItBeganWithMove) {
  const TemporaryFolder first, second, third;
  run_here(first, moving(""));
  Json json = config_json(moving(methods[1].second));
  const auto begun_with = [&](const char* stage) {
    json["model"]["weights"] = (first.path() / "run" / "models" / stage).string();
    return parse_config(json.dump(), "x.json");
  };
  json["stages"].erase(0);
  run_here(second, begun_with("moving.safetensors"));
  EXPECT_GE(masked(second), zeros) << "and zeros of weights that never had a gradient";
  const auto rows = rows_of(second);
  EXPECT_TRUE(std::ranges::any_of(rows, [](const Json& row) { return row.contains("regrow"); }));
  const std::string none =
      "moves masks, and there are none: expected a stage before it that prunes weights (without 'remove'), "
      "'prune' beside it, or weights that have masks";
  json["model"]["hold_zeros"] = false;
  EXPECT_EQ(message_of<UsageError>([&] { begun_with("moving.safetensors"); }),
            "x.json: /stages/0/train/regrow: " + none);
  json["model"].erase("hold_zeros");
  const TemporaryFolder unmasked;
  Config dense = moving("", "", "none");
  run_here(unmasked, dense);
  json["model"]["weights"] = (unmasked.path() / "run" / "models" / "moving.safetensors").string();
  EXPECT_EQ(message_of<UsageError>([&] { run_here(third, parse_config(json.dump(), "x.json")); }),
            "x.json: /stages/0 (moving): train.regrow: " + none);
}

TEST(RegrowRun, AStageMadeLongerMustHaveMovedTheSame) {
  const auto longer = [](Config config) {
    config.stages[1].train->steps = 80;
    return config;
  };
  const TemporaryFolder folder, whole, other;
  const Config fits = moving(methods[1].second),
               ends_with_the_stage = moving(R"({"type": "rigl", "every": 7})");
  run_here(folder, fits);
  run_here(folder, longer(fits), true);
  run_here(whole, longer(fits));
  EXPECT_EQ(tensors_of(folder, "checkpoint.safetensors"), tensors_of(whole, "checkpoint.safetensors"));
  run_here(other, ends_with_the_stage);
  EXPECT_TRUE(contains(message_of<UsageError>([&] { run_here(other, longer(ends_with_the_stage), true); }),
                       "step 8 would have had another regrowth: the schedule rigl goes by the number of all "
                       "steps"));
}

// --- What configs may say ---

std::string refusal(const Json& json) {
  return message_of<UsageError>([&] { parse(json); });
}

TEST(RegrowConfig, HasItsMethodsDefaults) {
  const auto read = [](const std::string& regrow) { return *moving(regrow).stages[1].train->regrow; };
  const RegrowConfig rigl = read(R"({"type": "rigl"})"), momentum = read(R"({"type": "sparse_momentum"})"),
                     straight = read(R"({"type": "straight_through"})"),
                     kast = read(R"({"type": "top_kast"})");
  EXPECT_EQ(rigl.share, 0.3);
  EXPECT_EQ(rigl.anneal, "cosine");
  EXPECT_EQ(rigl.every, 100);
  EXPECT_FALSE(rigl.end);
  EXPECT_EQ(momentum.share, 0.5);
  EXPECT_EQ(momentum.min_share, 0.005);
  EXPECT_EQ(momentum.in, "epochs");
  EXPECT_EQ(momentum.every, 1);
  EXPECT_EQ(straight.every, 1);
  EXPECT_EQ(kast.extra.number("backward_sparsity"), 0.5);
  const Json written = config_json(moving(R"({"type": "rigl"})"))["stages"][1]["train"]["regrow"];
  EXPECT_EQ(
      written.dump(),
      R"({"type":"rigl","share":0.3,"min_share":0.0,"anneal":"cosine","in":"steps","begin":0,"every":100})");
  EXPECT_EQ(read(R"({"type": "set", "in": "share"})").every, 0.01);
}

TEST(RegrowConfig, MistakesAreNamed) {
  const auto with_regrow = [](const std::string& regrow) {
    return with("/stages/3/train/regrow", regrow);  // a stage of 50 steps that prunes
  };
  const std::string at = "x.json: /stages/3/train/regrow";
  EXPECT_EQ(refusal(with_regrow(R"({"type": "rigle"})")),
            at + "/type: found the text \"rigle\", expected one of " + enumerated(regrowths().names()) +
                ", did you mean 'rigl'?");
  EXPECT_EQ(refusal(with_regrow("{}")),
            at + "/type: missing, expected one of " + enumerated(regrowths().names()));
  EXPECT_EQ(refusal(with_regrow(R"({"type": "rigl", "share": 1.5})")),
            at + "/share: found 1.5, expected a number from 0 to 1");
  EXPECT_EQ(refusal(with_regrow(R"({"type": "rigl", "share": 0.1, "min_share": 0.2})")),
            at + "/min_share: found 0.2, expected at most share: 0.1");
  EXPECT_EQ(refusal(with_regrow(R"({"type": "rigl", "begin": 20, "end": 10})")),
            at + "/end: found 10, expected at least begin: 20");
  EXPECT_EQ(refusal(with_regrow(R"({"type": "rigl", "end": 50})")),
            at + "/end: found 50, but the last of 50 steps is 49");
  EXPECT_EQ(refusal(with_regrow(R"({"type": "rigl", "in": "share", "end": 1.5})")),
            at + "/end: found 1.5, expected at most 1, the whole stage");
  EXPECT_EQ(refusal(with_regrow(R"({"type": "rigl", "every": 2.5})")),
            at +
                "/every: found 2.5, expected a whole number of steps; \"in\": \"epochs\" or \"share\" counts "
                "otherwise");
  EXPECT_EQ(refusal(with_regrow(R"({"type": "rigl", "momentum": 0.5})")),
            at + "/momentum: is for type sparse_momentum, and the type is rigl");
  EXPECT_EQ(refusal(with_regrow(R"({"type": "top_kast", "backward_sparsity": -1})")),
            at + "/backward_sparsity: found -1, expected a number from 0 to 1");
  EXPECT_EQ(refusal(with_regrow(R"({"type": "straight_through", "share": 0.5})")),
            at + "/share: is for type set, rigl or sparse_momentum, and the type is straight_through");
  EXPECT_TRUE(
      refusal(with_regrow(R"({"type": "rigl", "anneal": "cosinus"})")).ends_with("did you mean 'cosine'?"));
  parse(with_regrow(R"({"type": "rigl"})"));
}

TEST(RegrowConfig, ThereMustBeMasksThatItMayMove) {
  const std::string none =
      "moves masks, and there are none: expected a stage before it that prunes weights (without 'remove'), "
      "'prune' beside it, or weights that have masks";
  Json json = with("/stages/0/train/regrow", R"({"type": "rigl"})");
  EXPECT_EQ(refusal(json), "x.json: /stages/0/train/regrow: " + none);
  json = with("/stages/3/train", R"({"steps": 50, "optimizer": {"type": "sgd", "lr": 0.1},
                                     "regrow": {"type": "set"}})");
  parse(json);
  json["stages"][1]["prune"]["remove"] = true;
  EXPECT_EQ(refusal(json), "x.json: /stages/3/train/regrow: " + none);
  json["stages"][1]["prune"] = {{"unit", "channel"}, {"ratio", 0.5}};
  EXPECT_EQ(refusal(json), "x.json: /stages/3/train/regrow: " + none) << "a cut leaves no masks";
  json["stages"][1]["prune"] = {{"unit", "filter"}, {"sparsity", 0.5}};
  EXPECT_EQ(
      refusal(json),
      "x.json: /stages/3/train/regrow: moves single weights, and would tear what stage 'pruned' masks: unit "
      "filter, expected weight");
  json["stages"][1]["prune"]["remove"] = true;
  EXPECT_EQ(refusal(json), "x.json: /stages/3/train/regrow: " + none);
  json =
      with("/stages/3/train/prune", R"({"unit": "channel", "ratio": 0.5, "schedule": {"type": "one_shot"}})");
  json["stages"][3]["train"]["regrow"] = {{"type", "rigl"}};
  EXPECT_EQ(
      refusal(json),
      "x.json: /stages/3/train/regrow: moves masks, and 'prune' beside it cuts channels out: expected the "
      "one or the other");
  json = with("/stages/3/train/prune", R"({"unit": "2:4", "schedule": {"type": "one_shot"}})");
  json["stages"][3]["train"]["regrow"] = {{"type", "rigl"}};
  EXPECT_EQ(
      refusal(json),
      "x.json: /stages/3/train/regrow: moves single weights, and would tear what 'prune' beside it masks: "
      "unit 2:4, expected weight");
}

}  // namespace
}  // namespace espalier
