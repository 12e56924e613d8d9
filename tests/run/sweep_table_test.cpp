#include "espalier/run/sweep_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "espalier/util/input_file.h"
#include "support/bad_input.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

using Json = nlohmann::ordered_json;

Sweep two_points(const std::string& more = "") {
  return parse_sweep(R"({"config": "m.json", "seeds": 3, "set": {"data.batch": 5},
                         "grid": [{"name": "early"}, {"name": "late", "set": {"model.hidden": [7]}}])" +
                         more + "}",
                     "s.json");
}

SweptRun run_of(const std::string& point, int64_t seed, double accuracy, double dense, double sparsity) {
  const auto stage = [&](const std::string& name, double share) {
    return StageSummary{name,
                        std::nullopt,
                        {{"accuracy", share}, {"sparsity", sparsity}, {"macs", 266200}, {"seconds", 1.5}}};
  };
  return {.point = point,
          .seed = seed,
          .folder = "runs/s/" + point + "/seed" + std::to_string(seed),
          .stages = {stage("dense", dense), stage("tuned", accuracy)},
          .made_by = {{"threads", 2}, {"version", "0.1"}, {"commit", "c"}}};
}

std::vector<SweptRun> five_runs() {
  SweptRun failed{.point = "late", .seed = 2, .folder = "runs/s/late/seed2", .missing = "the loss is nan"};
  return {run_of("early", 0, 98, 97, 0.9),     run_of("late", 0, 96, 95, 0.9),
          run_of("early", 1, 98.5, 97.5, 0.9), run_of("late", 1, 97, 95, 0.9),
          run_of("early", 2, 99.5, 97, 0.9),   failed};
}

const char* const note = "mean ± sample standard deviation (number of seeds)";

// Of 98, 98.5 and 99.5 the mean is 98.667, the deviation 0.7638; of 96 and 97 they are 96.5 and 0.7071.
TEST(SweepTable, MeansAndDeviationsOfPointsInTheirOrder) {
  const SweepTable table(
      two_points(R"(, "report": ["error", "dense.accuracy", "sparsity", "macs", "seconds"])"), five_runs());
  EXPECT_EQ(table.markdown(),
            "| point | error | dense accuracy | sparsity | MACs | time |\n"
            "|---|---|---|---|---|---|\n"
            "| early | 1.33 ± 0.76 % (3) | 97.17 ± 0.29 % (3) | 90.00 % (3) | 266,200 (3) | 3 s (3) |\n"
            "| late | 3.50 ± 0.71 % (2) | 95.00 ± 0.00 % (2) | 90.00 % (2) | 266,200 (2) | 3 s (2) |\n"
            "\n" +
                std::string(note) +
                "\n"
                "\nmissing: late, seed 2 (the loss is nan)\n");
  EXPECT_EQ(table.table(),
            "point              error      dense accuracy     sparsity         MACs     time\n"
            "early  1.33 ± 0.76 % (3)  97.17 ± 0.29 % (3)  90.00 % (3)  266,200 (3)  3 s (3)\n"
            "late   3.50 ± 0.71 % (2)  95.00 ± 0.00 % (2)  90.00 % (2)  266,200 (2)  3 s (2)\n" +
                std::string(note) + "\nmissing: late, seed 2 (the loss is nan)\n");
}

TEST(SweepTable, WhatNobodyAskedForAndNobodyHasIsNotShown) {
  const std::string text = SweepTable(two_points(), five_runs()).markdown();
  EXPECT_TRUE(contains(text, "| point | accuracy | sparsity | MACs | time |\n")) << "no best, no parameters";
  EXPECT_TRUE(contains(text, "| early | 98.67 ± 0.76 % (3) |"));
}

TEST(SweepTable, APointWithoutRunsHasItsRow) {
  std::vector<SweptRun> runs = five_runs();
  std::erase_if(runs, [](const SweptRun& run) { return run.point == "late"; });
  const std::string text =
      SweepTable(two_points(R"(, "report": ["best_error", "accuracy"])"), runs).markdown();
  EXPECT_TRUE(contains(text, "| late | - | - |\n"));
  EXPECT_TRUE(contains(text, "| early | - | 98.67"));
}

TEST(SweepTable, OneSeedHasNoDeviation) {
  const std::string text =
      SweepTable(two_points(R"(, "report": ["accuracy"])"), {run_of("early", 0, 98, 97, 0.9)}).markdown();
  EXPECT_TRUE(contains(text, "| early | 98.00 % (1) |\n"));
}

TEST(SweepTable, CsvHasALineForEachRun) {
  const std::string csv = SweepTable(two_points(), five_runs()).csv();
  const std::string head =
      "point,seed,folder,state,threads,version,commit,accuracy,error,sparsity,macs,seconds,dense.accuracy,"
      "dense.error,"
      "dense.sparsity,dense.macs,dense.seconds,tuned.accuracy,tuned.error,tuned.sparsity,tuned.macs,tuned."
      "seconds\n";
  EXPECT_TRUE(csv.starts_with(
      head +
      "early,0,runs/s/early/seed0,done,2,0.1,c,98.0,2.0,0.9,266200,3.0,97.0,3.0,0.9,266200,1.5,"
      "98.0,2.0,0.9,266200,1.5\n"))
      << csv;
  EXPECT_TRUE(csv.ends_with("\nlate,2,runs/s/late/seed2,failed" + std::string(18, ',') + "\n")) << csv;
  EXPECT_EQ(std::ranges::count(csv, '\n'), 7);
}

TEST(SweepTable, JsonHasPointsAndRuns) {
  const Json json = SweepTable(two_points(), five_runs()).json();
  EXPECT_EQ(json["name"], "s");
  EXPECT_EQ(json["seeds"].dump(), "[0,1,2]");
  const Json& late = json["points"][1];
  EXPECT_EQ(late["set"].dump(), R"({"data.batch":5,"model.hidden":[7]})");
  EXPECT_EQ(late["config"], "m.json");
  EXPECT_EQ(late["measured"]["accuracy"]["n"], 2);
  EXPECT_EQ(late["measured"]["accuracy"]["mean"], 96.5);
  EXPECT_NEAR(late["measured"]["tuned.error"]["deviation"].get<double>(), std::sqrt(0.5), 1e-12);
  EXPECT_EQ(json["runs"].size(), 6u);
  EXPECT_EQ(json["runs"][0]["stages"][1]["stage"], "tuned");
  EXPECT_EQ(json["runs"][0]["stages"][1]["accuracy"], 98);
  EXPECT_EQ(json["runs"][0]["threads"], 2);
  EXPECT_EQ(json["runs"][5]["state"], "failed");
  EXPECT_EQ(json["runs"][5]["failure"], "the loss is nan");
}

TEST(SweepTable, IsWrittenBesideTheRuns) {
  const TemporaryFolder folder;
  const SweepTable table(two_points(), five_runs());
  table.write(folder.path());
  EXPECT_EQ(read_file(folder / "results.csv"), table.csv());
  EXPECT_EQ(Json::parse(read_file(folder / "results.json")), table.json());
  EXPECT_EQ(folder.files(), 2u);
}

TEST(SweepTable, ARunThatFailedIsNotRead) {
  const PlannedRun planned{.point = "early", .seed = 4, .folder = "/no/such/folder"};
  const SweptRun run = swept(planned, "why");
  EXPECT_EQ(run.missing, "why");
  EXPECT_EQ(run.label(), "early, seed 4");
  EXPECT_TRUE(run.stages.empty());
  EXPECT_EQ(message_of([&] { swept(planned); }), "/no/such/folder: there is no such folder");
}

}  // namespace
}  // namespace espalier
