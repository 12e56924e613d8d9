#include "espalier/run/run.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <fstream>

#include "espalier/formats/safetensors.h"
#include "espalier/optim/ema.h"
#include "espalier/run/checkpoint.h"
#include "espalier/util/atomic_file.h"
#include "espalier/util/input_file.h"
#include "run/small.h"
#include "support/bad_input.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

const std::string dense =
    R"({"name": "dense", "train": {"steps": 120, "log_every": 50, "optimizer": {"type": "adam", "lr": 0.01}}})";
const std::string pruned =
    R"({"name": "pruned", "prune": {"unit": "weight", "criterion": "l1", "scope": "global", "sparsity": 0.5}})";
const std::string tuned =
    R"({"name": "tuned", "train": {"steps": 20, "optimizer": {"type": "sgd", "lr": 0.01, "momentum": 0.9}}})";

RunResult run_in(const TemporaryFolder& folder, const Config& config, bool resume = false) {
  Console console(true);
  return run(config, {.output = (folder.path() / "run").string(), .data = {}, .resume = resume}, console);
}

int64_t lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

TEST(Run, TrainsPrunesAndFineTunesWithMasksHeld) {
  const TemporaryFolder folder;
  const RunResult result = run_in(
      folder, small_config(dense + "," + pruned + "," + tuned + R"(, {"name": "again", "evaluate": {}})"));
  ASSERT_EQ(result.stages.size(), 4u);
  const int64_t weights = 784 * 16 + 16 * 10, zeros = weights / 2;
  EXPECT_EQ(result.stages[0].nonzeros, result.stages[0].parameters);
  for (int i = 1; i < 4; ++i) EXPECT_EQ(result.stages[i].parameters - result.stages[i].nonzeros, zeros) << i;
  EXPECT_DOUBLE_EQ(result.stages[2].sparsity, 0.5);
  EXPECT_GT(result.stages[0].accuracy, 70.0);
  EXPECT_GE(result.stages[2].accuracy, result.stages[1].accuracy - 1.0);
  EXPECT_EQ(result.stages[3].accuracy, result.stages[2].accuracy);
  EXPECT_EQ(result.stages[0].macs, weights);
  EXPECT_GT(result.stages[3].seconds, result.stages[3].latency_ms / 1000 * 4) << "5 images at least went by";

  const auto run = folder.path() / "run";
  EXPECT_EQ(to_json(run_from_json(nlohmann::ordered_json::parse(read_file(run / "result.json")), "")).dump(),
            to_json(result).dump());
  EXPECT_EQ(result.stages[1].bytes,
            static_cast<int64_t>(std::filesystem::file_size(run / "models" / "pruned.safetensors")));
  const std::string metrics = read_file(run / "metrics.jsonl");
  // Steps 50 and 100, two epochs of dense, the prune and what is left, one epoch of tuned, once more.
  EXPECT_EQ(lines(metrics), 2 + 2 + 2 + 1 + 1) << metrics;
  EXPECT_TRUE(contains(metrics, R"({"stage":"dense","epoch":2,"step":100,"total_step":100,"loss":)"));
  EXPECT_TRUE(contains(read_file(run / "log.txt"), "6,352 of 12,704 weights pruned by l1"));
}

TEST(Run, GradualPruningEndsAtExactlyItsSparsity) {
  const TemporaryFolder folder;
  const RunResult result = run_in(
      folder, small_config(R"({"name": "g", "train": {"steps": 30, "optimizer": {"type": "adam", "lr": 0.01},
      "prune": {"unit": "weight", "criterion": "l1", "scope": "layer", "sparsity": 0.9, "schedule": {"type": "cubic", "every": 7}}}})"));
  const int64_t zeros = std::llround(0.9 * 784 * 16) + std::llround(0.9 * 160);
  EXPECT_EQ(result.stages[0].parameters - result.stages[0].nonzeros, zeros);
}

TEST(Run, CutsChannelsFineTunesAndItsFilesSayAll) {
  const TemporaryFolder folder;
  const std::string cut =
      R"({"name": "cut", "prune": {"unit": "channel", "criterion": "l1", "speedup": 1.5, "verify": true}})";
  const RunResult result = run_in(folder, small_config(dense + "," + cut + "," + tuned));
  const int64_t before = 16 * (784 + 10), after = 10 * (784 + 10);
  EXPECT_EQ(result.stages[0].macs, before);
  EXPECT_EQ(result.stages[1].macs, after) << "11 channels would be 1.45 times fewer";
  EXPECT_EQ(result.stages[2].macs, after);
  EXPECT_EQ(result.stages[1].parameters, after + 10 + 10);
  EXPECT_EQ(result.stages[1].nonzeros, result.stages[1].parameters);
  EXPECT_LT(result.stages[1].bytes, result.stages[0].bytes * 2 / 3);
  EXPECT_GE(result.stages[2].accuracy, result.stages[1].accuracy - 1.0);
  const auto run = folder.path() / "run";
  const std::string log = read_file(run / "log.txt");
  EXPECT_TRUE(contains(log, "16     10  ####################............")) << log;
  EXPECT_TRUE(contains(log, "MACs 12,704 -> 7,940 (1.60x fewer)")) << log;
  EXPECT_TRUE(contains(log, "verified: cut and masked network differ by")) << log;

  const auto opened = open_checkpoint(run / "models" / "tuned.safetensors").model;
  EXPECT_EQ(opened->find("fc1.weight")->shape(), (Shape{10, 784}));
  EXPECT_EQ(opened->history.size(), 3u);
  // It starts another run, which prunes further.
  Config further = small_config(
      R"({"name": "more", "prune": {"unit": "channel", "criterion": "l1", "ratio": 0.2, "min_channels": 2}})");
  further.model.weights = (run / "models" / "tuned.safetensors").string();
  const TemporaryFolder second;
  EXPECT_EQ(run_in(second, further).stages[0].macs, 8 * (784 + 10));
  further.model.hidden = {24};
  EXPECT_TRUE(contains(message_of([&] { run_in(TemporaryFolder(), further); }),
                       "surgery: fc1.weight is [24, 784], expected 16 along axis 0: the cut was made for "
                       "another model"));
}

TEST(Run, CutsChannelsLittleByLittleWhileItTrains) {
  const TemporaryFolder folder;
  const RunResult result = run_in(
      folder,
      small_config(
          R"({"name": "g", "train": {"steps": 30, "optimizer": {"type": "sgd", "lr": 0.05, "momentum": 0.9},
      "regularize": {"type": "group_norm", "weight": 0.001},
      "prune": {"unit": "channel", "criterion": "group_norm", "speedup": 2, "schedule": {"type": "cubic", "every": 7}}}})"));
  EXPECT_EQ(result.stages[0].macs, 8 * (784 + 10));
  EXPECT_GT(result.stages[0].accuracy, 50.0);
  const std::string log = read_file(folder.path() / "run" / "log.txt");
  for (const char* line :
       {"g  step 8  1.45x fewer MACs", "g  step 15  1.78x fewer MACs", "g  step 22  2.00x fewer MACs"})
    EXPECT_TRUE(contains(log, line)) << log;
}

TEST(Run, CutsWhatACutLeft) {
  const TemporaryFolder folder, second;
  const char* half = R"({"name": "a", "prune": {"unit": "channel", "ratio": 0.6}})";
  const char* least = R"({"name": "b", "prune": {"unit": "channel", "macs": 7000}})";
  Config config = small_config(std::string(half) + "," + least);
  config.model.hidden = {100};  // of which a tenth would stay, 7,940 MACs; of 40 channels 8 do
  const RunResult result = run_in(folder, config);
  EXPECT_EQ(result.stages[0].macs, 40 * (784 + 10));
  EXPECT_EQ(result.stages[1].macs, 8 * (784 + 10));
  // The same from a file of pruned weights; it can be resumed, though its config's own network is another.
  Config again = small_config(least);
  again.model.hidden = {100};
  again.model.weights = (folder.path() / "run" / "models" / "a.safetensors").string();
  EXPECT_EQ(run_in(second, again).stages[0].macs, 8 * (784 + 10));
  EXPECT_EQ(run_in(second, again, true).stages[0].macs, 8 * (784 + 10));
}

TEST(Run, WeightsAloneSayWhichNetworkTheyAreOf) {
  const TemporaryFolder folder, second;
  Config config = small_config(R"({"name": "a", "prune": {"unit": "channel", "ratio": 0.5}})");
  config.model.hidden = {24};
  run_in(folder, config);
  const std::string file = (folder.path() / "run" / "models" / "a.safetensors").string();
  const std::string written = (folder.path() / "further.json").string();
  const auto further = [&](const std::string& model) {
    write_file(written, R"({"model": {)" + model + R"("weights": ")" + file +
                            R"("}, "data": {"type": "synthetic", "batch": 100},
                            "stages": [{"name": "b", "prune": {"unit": "channel", "ratio": 0.75, "min_channels": 1}}]})");
    return load_config(written);
  };
  EXPECT_EQ(further("").model.hidden, (std::vector<int64_t>{24}));
  EXPECT_EQ(run_in(second, further("")).stages[0].macs, 3 * (784 + 10)) << "of 12 that were left";
  EXPECT_EQ(message_of([&] { further(R"("hidden": [5, 0], )"); }),
            written + ": /model/hidden/1: found 0, expected a whole number from 1 to 1000000");
  write_safetensors(file, {.tensors = {{"w", Tensor::zeros({1})}}, .metadata = {}});
  EXPECT_TRUE(contains(message_of([&] { further(""); }),
                       written + ": /model/type: missing, and the weights do not say it: " + file +
                           ": has no 'espalier.config' in its metadata"));
  std::filesystem::remove(file);
  EXPECT_TRUE(
      contains(message_of([&] { further(""); }), "/model/type: missing, and the weights do not say it: "));
}

TEST(Run, APrunedFileThatDoesNotFitLeavesTheModelAsItWas) {
  const TemporaryFolder folder;
  run_in(folder, small_config(R"({"name": "a", "prune": {"unit": "channel", "ratio": 0.25}})"));
  const auto file = folder.path() / "run" / "models" / "a.safetensors";
  const auto other = make_model({.type = "mlp", .classes = 5, .hidden = {16}}, 0);  // to which its cuts fit
  EXPECT_TRUE(contains(message_of([&] { load_weights(file, *other); }), "'fc2.weight' has shape [10, 12]"));
  EXPECT_EQ(other->find("fc1.weight")->shape(), (Shape{16, 784}));
  EXPECT_TRUE(other->history.empty());
}

TEST(Run, RemovedMasksLetZerosTrainAgain) {
  const TemporaryFolder folder;
  std::string removed = pruned;
  removed.insert(removed.rfind("}}"), R"(, "remove": true)");
  const RunResult result = run_in(folder, small_config(removed + "," + tuned));
  EXPECT_DOUBLE_EQ(result.stages[0].sparsity, 0.5);
  EXPECT_LT(result.stages[1].sparsity, 0.4);
}

TEST(Run, DenseSparseDenseEndsDense) {
  const TemporaryFolder folder;
  const std::string
      free = R"({"name": "free", "prune": {"sparsity": 0.5, "remove": true}})",
      again = R"({"name": "again", "train": {"steps": 20, "optimizer": {"type": "sgd", "lr": 0.01}}})";
  const RunResult result =
      run_in(folder, small_config(dense + "," + pruned + "," + tuned + "," + free + "," + again));
  EXPECT_DOUBLE_EQ(result.stages[2].sparsity, 0.5);
  EXPECT_DOUBLE_EQ(result.stages[3].sparsity, 0.5) << "the same zeros, which nothing holds";
  EXPECT_LT(result.stages[4].sparsity, 0.3);
}

// --- Rewinding ---

const std::string first = R"({"name": "first", "evaluate": {}})";
const std::string ticket = R"({"name": "ticket", "prune": {"sparsity": 0.8, "rewind": "first"}})";

TEST(Run, WhatStaysGoesBackToAnEarlierStagesWeights) {
  const TemporaryFolder folder;
  const RunResult result = run_in(folder, small_config(first + "," + dense + "," + ticket + "," + tuned));
  const auto models = folder.path() / "run" / "models";
  const auto file = [&](const char* stage) {
    return read_safetensors(models / (std::string(stage) + ".safetensors"));
  };
  const TensorFile before = file("first"), trained = file("dense"), after = file("ticket"),
                   end = file("tuned");
  std::vector<std::pair<float, bool>> magnitudes;  // of what was trained, and whether it stays
  int64_t zeros = 0;
  for (const auto& [name, tensor] : after.tensors) {
    const auto now = tensor.span<float>(), was = before.find(name)->span<float>(),
               late = end.find(name)->span<float>();
    for (size_t i = 0; i < now.size(); ++i) {
      const bool stays = now[i] != 0 || !name.ends_with("weight");
      zeros += !stays;
      EXPECT_EQ(now[i], stays ? was[i] : 0) << name;
      if (!stays) {
        EXPECT_EQ(late[i], 0) << name << ": held";
      }
      if (name.ends_with("weight"))
        magnitudes.emplace_back(std::abs(trained.find(name)->span<float>()[i]), stays);
    }
  }
  EXPECT_EQ(zeros, std::llround(0.8 * 12'704));
  EXPECT_DOUBLE_EQ(result.stages[2].sparsity, result.stages[3].sparsity);
  std::ranges::sort(magnitudes);
  EXPECT_TRUE(std::ranges::is_sorted(magnitudes, {}, [](const auto& one) { return one.second; }))
      << "the trained network's largest stay";
  EXPECT_TRUE(contains(read_file(folder.path() / "run" / "log.txt"),
                       "ticket  what stays goes back to the weights of stage 'first'"));
}

TEST(Run, WhatStaysBeginsWithNewWeights) {
  const TemporaryFolder folder;
  const std::string sparse = R"({"name": "sparse", "prune": {"sparsity": 0.8}})";
  const std::string fresh = R"({"name": "fresh", "prune": {"sparsity": 0, "reinitialize": true}})";
  const RunResult result = run_in(folder, small_config(first + "," + sparse + "," + fresh + "," + tuned));
  const auto file = [&](const char* stage) {
    return read_safetensors(folder.path() / "run" / "models" / (std::string(stage) + ".safetensors"));
  };
  const TensorFile before = file("first"), masked = file("sparse"), after = file("fresh");
  for (const auto& [name, tensor] : after.tensors) {
    const auto now = tensor.span<float>(), was = before.find(name)->span<float>(),
               held = masked.find(name)->span<float>();
    int64_t same = 0, stay = 0;
    for (size_t i = 0; i < now.size(); ++i) {
      EXPECT_EQ(now[i] == 0, held[i] == 0) << name << ": the masks are those that were there";
      if (held[i] != 0) ++stay, same += now[i] == was[i];
    }
    EXPECT_LT(same, stay / 10) << name << ": other weights than the run began with";
    EXPECT_NEAR(*std::ranges::max_element(now), *std::ranges::max_element(was), 0.1) << name;
  }
  EXPECT_EQ(result.stages[3].sparsity, result.stages[1].sparsity);
  const TemporaryFolder again;
  run_in(again, small_config(first + "," + sparse + "," + fresh + "," + tuned));
  EXPECT_EQ(read_file(folder.path() / "run" / "models" / "fresh.safetensors"),
            read_file(again.path() / "run" / "models" / "fresh.safetensors"));
}

TEST(Run, GoesBackToNormsStatisticsToo) {
  const TemporaryFolder folder;
  Config config = small_config(first + "," + tuned + "," + ticket);
  config.model = {};
  config.model.type = "resnet20";
  config.model.input = {28, 28, 1};
  config.model.width = 0.25;
  config.model.classes = 10;
  config.stages[1].train->steps = 3;
  run_in(folder, config);
  const auto models = folder.path() / "run" / "models";
  const TensorFile before = read_safetensors(models / "first.safetensors"),
                   after = read_safetensors(models / "ticket.safetensors");
  int64_t statistics = 0;
  for (const auto& [name, tensor] : after.tensors) {
    if (name.find("running") == name.npos) continue;
    ++statistics;
    EXPECT_TRUE(std::ranges::equal(tensor.span<float>(), before.find(name)->span<float>())) << name;
  }
  EXPECT_GT(statistics, 10);
}

TEST(Run, AStageToGoBackToThatIsMissingIsToldBeforeItGoesOn) {
  const TemporaryFolder folder;
  const Config config = small_config(first + "," + tuned + "," + ticket);
  run_in(folder, config);
  const auto run = folder.path() / "run";
  // As if it had been stopped after its second stage.
  CheckpointInfo info = read_checkpoint_info(run / "checkpoint.safetensors");
  info.position->stage = 2;
  info.position->results.pop_back();
  const auto model = open_checkpoint(run / "models" / "tuned.safetensors").model;
  save_checkpoint({run / "checkpoint.safetensors"}, *model, info.config, *info.position, info.classes);
  std::filesystem::remove(run / "result.json");
  const auto file = run / "models" / "first.safetensors";
  const std::string bytes = read_file(file);
  std::filesystem::remove(file);
  EXPECT_EQ(message_of([&] { run_in(folder, config, true); }),
            file.string() + ": is missing, and stage 'ticket' goes back to its weights");
  std::ofstream(file, std::ios::binary) << bytes;
  EXPECT_EQ(run_in(folder, config, true).stages.size(), 3u);
}

TEST(Run, RoundsTakeAShareOfWhatRemains) {
  const TemporaryFolder folder;
  const Config config = small_config(first + "," + dense + R"(, {"name": "round", "repeat": 3, "stages": [
      {"name": "pruned", "prune": {"sparsity": 0.2, "of": "remaining", "rewind": "first"}},
      {"name": "tuned", "train": {"steps": 40, "optimizer": {"type": "adam", "lr": 0.01}}}]})");
  const RunResult result = run_in(folder, config);
  ASSERT_EQ(result.stages.size(), 8u);
  int64_t left = 12'704;
  for (int round = 1; round <= 3; ++round) {
    left -= std::llround(0.2 * static_cast<double>(left));
    const StageResult &pruned = result.stages[static_cast<size_t>(2 * round)],
                      &tuned = result.stages[static_cast<size_t>(2 * round + 1)];
    EXPECT_EQ(pruned.name, join("round", round, ".pruned"));
    EXPECT_EQ(tuned.name, join("round", round, ".tuned"));
    EXPECT_EQ(tuned.nonzeros, left + 26) << "biases";
    EXPECT_GT(tuned.accuracy, 50);
    EXPECT_TRUE(std::filesystem::exists(folder.path() / "run" / "models" / (pruned.name + ".safetensors")));
  }
  const std::string saved = read_file(folder.path() / "run" / "config.json");
  EXPECT_TRUE(contains(saved, "round3.tuned"));
  EXPECT_FALSE(contains(saved, "repeat"));
  EXPECT_EQ(to_json(run_in(folder, config, true)), to_json(result)) << "and goes on as the same run";
}

// --- Schedules ---

/// The sparsity after each act of a pruner, from the rows of metrics.
std::vector<double> sparsities(const std::filesystem::path& run) {
  std::vector<double> found;
  std::istringstream rows(read_file(run / "metrics.jsonl"));
  for (std::string line; std::getline(rows, line);) {
    const auto row = nlohmann::ordered_json::parse(line);
    if (!row.contains("prune")) continue;
    double weights = 0, left = 0;
    for (const auto& layer : row["prune"]["layers"]) {
      weights += layer["weights"].get<double>();
      left += layer["nonzeros"]["after"].get<double>();
    }
    found.push_back(1 - left / weights);
  }
  return found;
}

std::vector<double> sparsities_of(const std::string& prune, double* at_end) {
  const TemporaryFolder folder;
  const RunResult result =
      run_in(folder, small_config(R"({"name": "g", "train": {"steps": 40, "optimizer": {"type": "sgd",
      "lr": 0.05, "momentum": 0.9}, "prune": )" +
                                  prune + "}}"));
  *at_end = result.stages[0].sparsity;
  return sparsities(folder.path() / "run");
}

void expect_near(const std::vector<double>& found, const std::vector<double>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 5e-5) << i;
}

TEST(Run, ATableIsFollowed) {
  double end = 0;
  expect_near(
      sparsities_of(
          R"({"sparsity": 0.9, "schedule": {"type": "table", "table": [[3, 0.5], [20, 0.5], [30, 0.9]]}})",
          &end),
      {0.5, 0.5, 0.9});
  EXPECT_NEAR(end, 0.9, 5e-5);
}

TEST(Run, GeometricTakesTheSameShareOfWhatIsLeft) {
  double end = 0;
  expect_near(
      sparsities_of(
          R"({"sparsity": 0.992, "schedule": {"type": "geometric", "begin": 0, "end": 30, "every": 10}})",
          &end),
      {0, 0.8, 0.96, 0.992});
  EXPECT_NEAR(end, 0.992, 5e-5);
}

TEST(Run, AlternatingEndsSparse) {
  double end = 0;
  const auto found = sparsities_of(
      R"({"sparsity": 0.8, "schedule": {"type": "alternating", "begin": 0, "end": 39, "every": 7}})", &end);
  ASSERT_EQ(found.size(), 6u) << "0, 7, 14, 21, 28 and 35";
  for (const size_t sparse : {1, 3, 5}) EXPECT_NEAR(found[sparse], 0.8, 5e-5);
  for (const size_t dense : {2, 4}) EXPECT_NEAR(found[dense], 0.8, 5e-5) << "let go, but not trained yet";
  EXPECT_NEAR(end, 0.8, 5e-5);
}

TEST(Run, WhatIsNotHeldIsAtTheEnd) {
  double end = 0;
  expect_near(
      sparsities_of(
          R"({"sparsity": 0.75, "hold": false, "schedule": {"type": "linear", "initial": 0.75, "end": 30,
      "every": 10}})",
          &end),
      {0.75, 0.75, 0.75, 0.75});
  EXPECT_NEAR(end, 0.75, 5e-5);
}

TEST(Run, KeepsTheBestEpochAndStopsEarly) {
  const TemporaryFolder folder;
  const RunResult result = run_in(
      folder,
      small_config(R"({"name": "long", "train": {"epochs": 50, "optimizer": {"type": "adam", "lr": 0.05},
      "early_stop": {"patience": 2}}})",
                   R"(, "validation": 0.1)"));
  ASSERT_TRUE(result.stages[0].best);
  const BestResult& best = *result.stages[0].best;
  const std::string metrics = read_file(folder.path() / "run" / "metrics.jsonl");
  double highest = 0;
  int64_t epoch = 0, epochs = 0;
  std::istringstream rows(metrics);
  for (std::string row; std::getline(rows, row);) {
    const auto json = nlohmann::json::parse(row);
    if (!json.contains("validation_accuracy")) continue;
    ++epochs;
    if (json["validation_accuracy"] > highest) highest = json["validation_accuracy"], epoch = json["epoch"];
    if (json["epoch"] == best.epoch) {
      EXPECT_DOUBLE_EQ(json["accuracy"], best.accuracy);
    }
  }
  EXPECT_EQ(best.epoch, epoch);
  EXPECT_EQ(epochs, epoch + 2);
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "run" / "models" / "long.best.safetensors"));
}

TEST(Run, ResumesAFinishedRunToTheSameResult) {
  const TemporaryFolder folder;
  const Config config = small_config(dense);
  const auto first = run_in(folder, config), again = run_in(folder, config, true);
  EXPECT_EQ(to_json(first).dump(), to_json(again).dump());
}

TEST(Run, AFolderThatHoldsARunIsLeftAlone) {
  const TemporaryFolder folder;
  run_in(folder, small_config(tuned));
  const std::string before = read_file(folder.path() / "run" / "result.json");
  EXPECT_TRUE(contains(message_of([&] { run_in(folder, small_config(tuned)); }),
                       "holds a run already; --resume goes on with it"));
  EXPECT_TRUE(contains(message_of([&] { run_in(folder, small_config(dense), true); }),
                       "a run of another config, which differs at stages.dense.name"));
  EXPECT_EQ(read_file(folder.path() / "run" / "result.json"), before);
}

TEST(Run, FilesThatNoRunHasLeftAreNeverWrittenOver) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder.path() / "run" / "models");
  const auto mine = folder.path() / "run" / "models" / "mine.safetensors";
  std::ofstream(mine) << "mine";
  EXPECT_TRUE(contains(message_of([&] { run_in(folder, small_config(tuned)); }), "holds a run already"));
  EXPECT_TRUE(contains(message_of([&] { run_in(folder, small_config(tuned), true); }),
                       "holds mine.safetensors, which no run of Espalier's has left"));
  std::ofstream(folder.path() / "run" / "config.json") << R"({"architectures": ["Other"]})";
  EXPECT_TRUE(contains(message_of([&] { run_in(folder, small_config(tuned), true); }),
                       "holds config.json, which no run"));
  EXPECT_EQ(read_file(mine), "mine");
}

TEST(Run, ResultsWithoutACheckpointAreNeverWrittenOver) {
  const TemporaryFolder folder;
  run_in(folder, small_config(tuned));
  const auto run = folder.path() / "run";
  const std::string before = read_file(run / "result.json");
  std::filesystem::remove(run / "checkpoint.safetensors");
  EXPECT_TRUE(contains(message_of([&] { run_in(folder, small_config(dense), true); }),
                       "holds a run of another config, which differs at stages.dense.name"));
  EXPECT_TRUE(contains(message_of([&] { run_in(folder, small_config(tuned), true); }),
                       "holds result.json of a run, but no checkpoint to go on from"));
  EXPECT_EQ(read_file(run / "result.json"), before);
  for (const char* file : {"result.json", "last_step.safetensors"}) std::filesystem::remove(run / file);
  EXPECT_TRUE(contains(message_of([&] { run_in(folder, small_config(tuned), true); }),
                       "holds models/tuned.safetensors of a run, but no checkpoint"));
  std::filesystem::remove(run / "models" / "tuned.safetensors");  // what a run leaves before its first
  EXPECT_EQ(run_in(folder, small_config(tuned), true).stages.size(), 1u);
}

TEST(Run, AnotherProcesssHalvesAreItsOwn) {
  const TemporaryFolder folder;
  const auto run = folder.path() / "run";
  run_in(folder, small_config(tuned));
  const auto half = run / "checkpoint.safetensors.tmp-999-0";
  std::ofstream(half) << "half";
  const FileDescriptor lock(::open(run.c_str(), O_RDONLY | O_DIRECTORY));
  ASSERT_EQ(::flock(lock.get(), LOCK_EX), 0);
  EXPECT_TRUE(contains(message_of([&] { run_in(folder, small_config(tuned), true); }),
                       "another process is running in this folder"));
  EXPECT_TRUE(std::filesystem::exists(half));
  ASSERT_EQ(::flock(lock.get(), LOCK_UN), 0);
  run_in(folder, small_config(tuned), true);
  EXPECT_FALSE(std::filesystem::exists(half));
}

/// A run that is done, whose checkpoint a test writes over.
struct Finished {
  explicit Finished(const Config& of) : config(of) { run_in(folder, config); }
  void save(const RunPosition& position) {
    save_checkpoint(folder.path() / "run" / "checkpoint.safetensors", *model, config, position, {});
  }
  RunResult resume() { return run_in(folder, config, true); }

  const TemporaryFolder folder;
  const Config config;
  const std::unique_ptr<Module> model = make_model(config.model, 0);
};

TEST(Run, ACheckpointWithoutTheOptimizersStateIsRefused) {
  Finished f(small_config(dense));
  const auto save_with = [&](size_t state, bool average) {
    for (Parameter* p : f.model->parameters()) {
      p->drop_state(TensorUse::optimizer);
      for (size_t i = 0; i < state; ++i) p->state[join("slot", i)] = Tensor::zeros(p->shape());
      p->state["average"] = average ? Tensor::zeros(p->shape()) : Tensor();
    }
    f.save({{.batch = 7, .step = 7, .optimizer_steps = 7}});
  };
  const auto resumed_with = [&](size_t state, bool average) {
    save_with(state, average);
    return message_of([&] { f.resume(); });
  };
  EXPECT_TRUE(
      contains(resumed_with(1, false),
               "checkpoint.safetensors: holds 1 tensor of optimizer state of fc1.weight, expected 2"));
  EXPECT_TRUE(
      contains(resumed_with(0, false), "holds 0 tensors of optimizer state of fc1.weight, expected 2"));
  EXPECT_TRUE(
      contains(resumed_with(3, false), "holds 3 tensors of optimizer state of fc1.weight, expected 2"));
  EXPECT_TRUE(contains(resumed_with(2, true),
                       "checkpoint.safetensors: holds an average of fc1.weight, expected none"));
  save_with(2, false);
  EXPECT_EQ(f.resume().stages.size(), 1u);
}

TEST(Run, GoesOnWithAveragesOfAModelWithNormsWhichAverageNoStatistics) {
  const std::string averaged =
      R"({"name": "dense", "train": {"steps": 2, "ema": 0.9, "optimizer": {"type": "sgd", "lr": 0.01}}})";
  Config config = small_config(averaged);
  static_cast<ModelOptions&>(config.model) = {.type = "resnet20", .input = {28, 28, 1}, .classes = 10};
  Finished f(config);
  start_average(f.model->parameters());
  f.save({{.batch = 1, .step = 1, .optimizer_steps = 1}});
  EXPECT_EQ(f.resume().stages.size(), 1u);
}

TEST(Run, TheTimeInItsMetricsGoesOn) {
  const std::string stage =
      R"({"name": "dense", "train": {"steps": 9, "log_every": 1, "optimizer": {"type": "sgd", "lr": 0.01}}})";
  Finished f(small_config(stage));
  const auto last_row = [&] {
    const std::string rows = read_file(f.folder.path() / "run" / "metrics.jsonl");
    return nlohmann::json::parse(rows.substr(rows.rfind('\n', rows.size() - 2) + 1));
  };
  EXPECT_LT(last_row()["seconds"], 1000);
  RunPosition late{{.batch = 7, .step = 7, .optimizer_steps = 7}};
  late.run_seconds = 1000;
  f.save(late);
  f.resume();
  EXPECT_EQ(last_row()["step"], 9);
  EXPECT_GT(last_row()["seconds"], 1000);
  const auto position = read_checkpoint_info(f.folder.path() / "run" / "checkpoint.safetensors").position;
  EXPECT_GT(position->run_seconds, 1000);
}

TEST(Run, ACheckpointThatDoesNotSayCountsThePlannedStepsOfEarlierStages) {
  Finished f(small_config(dense + "," + tuned));
  auto position = read_checkpoint_info(f.folder.path() / "run" / "checkpoint.safetensors").position.value();
  EXPECT_EQ(position.steps_before, 140);
  position.results.pop_back();
  RunPosition before{{.stage = 1}};
  before.results = position.results;
  f.save(before);
  f.resume();
  EXPECT_TRUE(contains(read_file(f.folder.path() / "run" / "metrics.jsonl"),
                       R"({"stage":"tuned","epoch":1,"step":20,"total_step":140,"accuracy":)"));
}

TEST(Run, GoesOnWithoutTheWeightsItBeganWith) {
  const TemporaryFolder folder;
  Config config = small_config(tuned);
  const auto weights = folder.path() / "w.safetensors";
  save_checkpoint(weights, *make_model(config.model, 3), config, {}, {});  // a checkpoint does, too
  config.model.weights = weights.string();
  const auto first = run_in(folder, config);
  std::filesystem::remove(weights);
  EXPECT_EQ(to_json(run_in(folder, config, true)).dump(), to_json(first).dump());
}

TEST(Run, EarlyStoppingThatCouldNeverActIsRefused) {
  const TemporaryFolder folder;
  std::string stage = tuned;
  stage.insert(stage.rfind("}}"), R"(, "early_stop": {"patience": 1},
      "prune": {"sparsity": 0.5, "schedule": {"type": "cubic", "every": 5}})");
  EXPECT_TRUE(contains(message_of([&] { run_in(folder, small_config(stage, R"(, "validation": 0.1)")); }),
                       "early_stop: can never act, for prune.schedule goes on to the stage's last step"));
}

TEST(Run, AnUpdateThatRuinsTheWeightsLeavesTheLastCheckpoint) {
  const TemporaryFolder folder;
  std::string ruin = tuned;
  ruin.replace(ruin.find("0.01"), 4, "1e38");
  const std::string message = message_of([&] { run_in(folder, small_config(dense + "," + ruin)); });
  EXPECT_TRUE(contains(message, "stage 'tuned': "));
  EXPECT_TRUE(contains(message, "the last good checkpoint is"));
  const auto position = read_checkpoint_info(folder.path() / "run" / "checkpoint.safetensors").position;
  EXPECT_EQ(position->stage, 1);
  EXPECT_EQ(position->step, 0);
}

TEST(Run, APositionOutsideTheRunIsRefused) {
  Finished f(small_config(tuned));
  for (const Position& position :
       {Position{.stage = 2}, Position{.stage = 99}, Position{.step = 21}, Position{.batch = 81}}) {
    f.save({position});
    EXPECT_TRUE(contains(message_of([&] { f.resume(); }), "its position does not fit its config"));
  }
}

TEST(Run, AFolderThatCannotBeMadeIsAUsageError) {
  const TemporaryFolder folder;
  std::ofstream(folder.path() / "run") << "a file";
  EXPECT_TRUE(contains(message_of([&] { run_in(folder, small_config(tuned)); }),
                       "run: this output folder cannot be made"));
}

TEST(Run, FindsWhatIsWrongWithALaterStageBeforeTheFirst) {
  const TemporaryFolder folder;
  std::string lost = pruned, late = tuned;
  late.replace(late.find("\"steps\": 20"), 11,
               "\"epochs\": 1");  // 80 steps, which the config by itself cannot know
  lost.insert(lost.rfind("}}"), R"(, "include": ["fc3"])");
  EXPECT_TRUE(contains(message_of([&] { run_in(folder, small_config(dense + "," + lost)); }),
                       "/stages/1 (pruned): "));
  late.insert(late.rfind("}}"),
              R"(, "prune": {"sparsity": 0.5, "schedule": {"type": "linear", "begin": 5, "end": 80}})");
  EXPECT_TRUE(
      contains(message_of([&] { run_in(folder, small_config(dense + "," + late)); }),
               "/stages/1 (tuned): prune.schedule: acts at step 80, but the stage has steps 0 to 79"));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "run"));
}

TEST(Run, AFullDiskEndsItAndLeavesTheLastCheckpointWhole) {
  const TemporaryFolder folder;
  {
    const FileSizeLimit limit(20'000);  // config and metrics fit, weights do not
    EXPECT_TRUE(contains(message_of([&] { run_in(folder, small_config(tuned)); }), "File too large"));
  }
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "run" / "checkpoint.safetensors"));
  EXPECT_EQ(run_in(folder, small_config(tuned), true).stages.size(), 1u);
}

}  // namespace
}  // namespace espalier
