#include "espalier/run/result.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <sstream>

#include "support/bad_input.h"

namespace espalier {
namespace {

RunResult two_stages() {
  StageResult dense{.name = "dense",
                    .kind = "train",
                    .seconds = 1.5,
                    .images_per_second = 250000.25,
                    .accuracy = 97.5,
                    .top5 = 99.9,
                    .loss = 0.081,
                    .parameters = 235146,
                    .nonzeros = 235146,
                    .sparsity = 0.0,
                    .macs = 234752,
                    .bytes = 943176,
                    .latency_ms = 0.0065,
                    .best = BestResult{2, 98.0, 97.25, 99.8, 0.09, 700, 0.25}};
  StageResult pruned = dense;
  pruned.name = "pruned";
  pruned.kind = "prune";
  pruned.images_per_second = 0;
  pruned.sparsity = 1.0 / 3.0;
  pruned.best.reset();
  return {.name = "r",
          .seed = 4,
          .device = "cpu",
          .threads = 2,
          .version = "0.1.0",
          .commit = "abc",
          .stages = {dense, pruned}};
}

TEST(Result, GoesThroughJsonUnchanged) {
  const auto json = to_json(two_stages());
  EXPECT_EQ(to_json(run_from_json(json, "result.json")).dump(), json.dump());
  EXPECT_EQ(run_from_json(json, "result.json").stages[1].sparsity, 1.0 / 3.0);
}

TEST(Result, HasTheFieldsThatScriptsRelyOn) {
  const auto json = to_json(two_stages());
  for (const char* key : {"name", "seed", "device", "precision", "threads", "version", "commit", "stages"})
    EXPECT_TRUE(json.contains(key)) << key;
  for (const char* key : {"name", "kind", "seconds", "images_per_second", "accuracy", "top5", "loss",
                          "parameters", "nonzeros", "sparsity", "macs", "bytes", "latency_ms"})
    EXPECT_TRUE(json["stages"][1].contains(key)) << key;
}

TEST(Result, OfAVersionWithoutPrecisionsIsOfF32) {
  auto json = to_json(two_stages());
  json["precision"] = "tf32";
  EXPECT_EQ(run_from_json(json, "result.json").precision, "tf32");
  json.erase("precision");
  EXPECT_EQ(run_from_json(json, "result.json").precision, "f32");
}

TEST(Result, AMissingOrMistypedFieldNamesTheFile) {
  auto json = to_json(two_stages());
  json["stages"][0].erase("macs");
  EXPECT_TRUE(contains(message_of([&] { run_from_json(json, "a/result.json"); }), "a/result.json: not a"));
  json = to_json(two_stages());
  json["seed"] = "four";
  EXPECT_TRUE(contains(message_of([&] { run_from_json(json, "a/result.json"); }),
                       "a/result.json: not a run's result"));
}

TEST(Result, TheTableShowsEachStageAndTheBestEpoch) {
  const std::string table = result_table(two_stages(), 10);
  EXPECT_TRUE(contains(table, "dense"));
  EXPECT_TRUE(contains(table, "dense, best (epoch 2)"));
  EXPECT_TRUE(contains(table, " 700   25.00 %"));
  EXPECT_TRUE(contains(table, "97.50 %"));
  EXPECT_TRUE(contains(table, "33.33 %"));
  EXPECT_TRUE(contains(table, "235,146"));
  EXPECT_TRUE(contains(table, "  1.5 s\n"));
}

TEST(Result, TheTableShowsATop5FromSixClassesOn) {
  EXPECT_FALSE(contains(result_table(two_stages(), 5), "top-5"));
  EXPECT_TRUE(contains(result_table(two_stages(), 6), "top-5"));
}

/// The titles of what fits.
std::vector<std::string> titles(const RunResult& run, size_t width) {
  std::istringstream line(result_table(run, 10, width));
  std::string text;
  std::getline(line, text);
  std::istringstream words(text);
  return {std::istream_iterator<std::string>(words), {}};
}

TEST(Result, TheTableKeepsWhatOnePrunesFor) {
  using Titles = std::vector<std::string>;
  RunResult run = two_stages();
  for (StageResult& stage : run.stages) {  // channels are cut: nothing is 0 but those
    stage.best.reset();
    stage.nonzeros = stage.parameters;
    stage.sparsity = 0;
  }
  run.stages[1].macs /= 2;
  run.stages[1].bytes /= 2;
  run.stages[1].parameters = run.stages[1].nonzeros = run.stages[0].parameters / 2;
  EXPECT_EQ(titles(run, 80), (Titles{"stage", "accuracy", "loss", "parameters", "MACs", "size", "latency",
                                     "images/s", "time"}));
  run = two_stages();  // weights are masked: nothing is smaller
  for (StageResult& stage : run.stages) stage.best.reset();
  run.stages[1].macs = run.stages[0].macs;
  run.stages[1].bytes = run.stages[0].bytes;
  run.stages[1].nonzeros = 156764;
  EXPECT_EQ(titles(run, 52), (Titles{"stage", "accuracy", "loss", "sparsity", "latency", "time"}));
}

TEST(Result, TheTableFitsATerminal) {
  const std::string table = result_table(two_stages(), 10, 60);
  EXPECT_TRUE(contains(table, "no room for: "));
  EXPECT_FALSE(contains(table, "images/s  time"));
}

}  // namespace
}  // namespace espalier
