#include "espalier/run/sweep_plan.h"

#include <gtest/gtest.h>

#include <fstream>
#include <optional>
#include <thread>

#include "espalier/run/run.h"
#include "espalier/run/run_folder.h"
#include "support/bad_input.h"
#include "support/mistakes.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;
using State = PlannedRun::State;

class SweepPlan : public testing::Test {
 protected:
  SweepPlan() {
    std::ofstream(folder_ / "m.json") << R"({"model": {"type": "mlp", "hidden": [8]},
               "data": {"type": "synthetic", "batch": 50, "train_images": 100, "test_images": 50},
               "stages": [{"name": "dense", "train": {"steps": 4, "optimizer": {"type": "sgd", "lr": 0.1}}},
                          {"name": "pruned", "prune": {"sparsity": 0.3}}]})";
  }

  Sweep sweep(const std::string& more) const {
    return parse_sweep(R"({"config": "m.json", "seeds": [5, 1], )" + more + "}",
                       (folder_ / "s.json").string());
  }
  std::vector<PlannedRun> plan(const std::string& more) const {
    return plan_sweep(sweep(more), runs(), std::nullopt);
  }
  fs::path runs() const { return folder_ / "runs"; }
  /// The message after the sweep's file.
  std::string refusal(const std::string& more) const {
    const std::string message = message_of<UsageError>([&] { plan(more); }),
                      file = (folder_ / "s.json").string() + ": ";
    EXPECT_TRUE(message.starts_with(file)) << message;
    return message.substr(file.size());
  }
  std::string config() const { return (folder_ / "m.json").string(); }

  /// Does a run as the command does.
  static void carry_out(const PlannedRun& planned) {
    Console console(true);
    run(load_config(planned.config, planned.overrides), {.output = planned.folder.string(), .data = {}},
        console);
  }

  TemporaryFolder folder_;
};

const char* const two = R"("grid": {"stages.pruned.prune.sparsity": [0.5, 0.9]})";

TEST_F(SweepPlan, EachRunHasAFolderAndTheFirstSeedsComeFirst) {
  const auto planned = plan(two);
  ASSERT_EQ(planned.size(), 4u);
  EXPECT_EQ(planned[0].folder, runs() / "sparsity=0.5" / "seed5");
  EXPECT_EQ(planned[1].folder, runs() / "sparsity=0.9" / "seed5");
  EXPECT_EQ(planned[2].folder, runs() / "sparsity=0.5" / "seed1");
  EXPECT_EQ(planned[3].label(), "sparsity=0.9, seed 1");
  EXPECT_EQ(planned[3].config, config());
  EXPECT_EQ(planned[3].overrides, (std::vector<std::string>{"stages.pruned.prune.sparsity=0.9", "seed=1"}));
  for (const PlannedRun& run : planned) EXPECT_EQ(run.state, State::fresh);
  EXPECT_FALSE(fs::exists(runs())) << "a plan writes nothing";
}

TEST_F(SweepPlan, KnowsHowFarARunIs) {
  auto planned = plan(two);
  carry_out(planned[0]);
  carry_out(planned[3]);
  fs::remove(planned[3].folder / "result.json");
  planned = plan(two);
  EXPECT_EQ(planned[0].state, State::done);
  EXPECT_EQ(planned[1].state, State::fresh);
  EXPECT_EQ(planned[3].state, State::begun);
  // A point more is no reason to do the others again.
  planned = plan(R"("grid": {"stages.pruned.prune.sparsity": [0.7, 0.5, 0.9]})");
  ASSERT_EQ(planned.size(), 6u);
  EXPECT_EQ(planned[1].state, State::done);
  EXPECT_EQ(planned[5].state, State::begun);
}

TEST_F(SweepPlan, ARunOfAnotherConfigIsRefused) {
  for (const PlannedRun& run : plan(two)) carry_out(run);
  const std::string first = (runs() / "sparsity=0.5" / "seed5").string();
  const auto differs = [&](const std::string& more) { return message_of<UsageError>([&] { plan(more); }); };
  EXPECT_EQ(differs(std::string(R"("set": {"data.batch": 25}, )") + two),
            first +
                ": holds a run of another config, which differs at data.batch, and so do 3 more; another "
                "--output DIR "
                "or name begins anew");
  // A length that a resumed run could be given is another config, too.
  EXPECT_TRUE(contains(differs(std::string(R"("set": {"stages.dense.train.steps": 8}, )") + two),
                       "which differs at stages.dense.train.steps"));
  EXPECT_TRUE(
      contains(differs(std::string(R"("set": {"precision": "f32"}, )") + two), "which differs at precision"));
  // What decides nothing of what comes of it is not.
  EXPECT_EQ(plan(std::string(R"("set": {"stages.dense.train.log_every": 3}, )") + two)[0].state, State::done);
}

TEST_F(SweepPlan, ForeignFoldersAreLeftAlone) {
  const fs::path place = plan(two)[0].folder;
  fs::create_directories(place);
  std::ofstream(place / "notes.txt") << "mine";
  EXPECT_EQ(refusal(two), "point 'sparsity=0.5': " + place.string() +
                              ": is no run's folder, and holds notes.txt; --output DIR writes elsewhere");
  fs::remove(place / "notes.txt");
  std::ofstream(place / "result.json") << "{}";
  EXPECT_EQ(refusal(two), "point 'sparsity=0.5': " + place.string() +
                              ": holds result.json but no config.json, so that "
                              "nobody knows of what run; another --output DIR begins anew");
  fs::remove_all(runs());
  fs::create_directories(runs());
  std::ofstream(runs() / "config.json") << "{}";
  EXPECT_EQ(
      message_of<UsageError>([&] { plan(two); }),
      runs().string() + ": holds a run, and a sweep has a folder of its own; --output DIR writes elsewhere");
}

TEST_F(SweepPlan, MistakesSayWhosePointTheyAreAndWhoSetThem) {
  EXPECT_EQ(refusal(R"("grid": [{"name": "a"}, {"name": "b", "set": {"stages.dense.train.steps": 0}}])"),
            "point 'b': " + config() +
                ": stages.dense.train.steps: found 0, expected a whole number of at least 1 (set in "
                "the sweep)");
  EXPECT_EQ(
      refusal(R"("set": {"stages.dense.train.steps": 0}, "grid": [{"name": "a"}, {"name": "b"}])"),
      config() +
          ": stages.dense.train.steps: found 0, expected a whole number of at least 1 (set in the sweep)");
  EXPECT_EQ(
      refusal(R"("set": {"stages.dnese.train.steps": 9})"),
      "--set stages.dnese.train.steps=9: stages: no element 'dnese' in a list of 2, did you mean 'dense'?");
  EXPECT_EQ(refusal(R"("set": {"data.batch": 9}, "grid": {"/data/batch": [1, 2]})"),
            "'data.batch' and '/data/batch' are the same field, expected one value for it");
  EXPECT_TRUE(contains(refusal(R"("grid": [{"name": "a"}, {"name": "b", "config": "n.json"}])"),
                       "point 'b': " + (folder_ / "n.json").string() + ": cannot open: No such file"));
  // What only the network says
  EXPECT_TRUE(contains(message_of([&] { plan(R"("set": {"stages.pruned.prune.include": ["fc9"]})"); }),
                       "include 'fc9'"));
  EXPECT_EQ(
      mistakes_of([&] {
        plan(
            R"("grid": [{"name": "a", "set": {"data.batch": 0}}, {"name": "b", "set": {"data.batch": -1}}])");
      }).size(),
      3u);
  EXPECT_TRUE(contains(refusal(R"("report": ["denes.error"])"),
                       "/report/0: no point has a stage 'denes', did you mean 'dense'?"));
  EXPECT_FALSE(fs::exists(runs()));
}

TEST_F(SweepPlan, MissingDataAreAnErrorOfEachPoint) {
  const std::string message = message_of<Error>([&] {
    plan_sweep(sweep(R"("set": {"data": {"type": "mnist"}}, "grid": [{"name": "a"}, {"name": "b"}])"), runs(),
               (folder_ / "nowhere").string());
  });
  EXPECT_TRUE(message.starts_with((folder_ / "s.json").string() + ": mnist: ")) << message;
}

TEST_F(SweepPlan, WeightsThatDifferWithTheSeedAreCheckedForEach) {
  carry_out(plan(R"("grid": [{"name": "base"}])")[0]);
  const fs::path base = runs() / "base";
  const std::string more = R"("grid": [{"name": "again", "set": {"model.weights": ")" + base.string() +
                           R"(/seed{seed}/models/dense.safetensors"}}])";
  EXPECT_TRUE(contains(message_of([&] { plan(more); }), "seed1/models/dense.safetensors"));
  fs::create_directories(base / "seed1");
  fs::copy(base / "seed5/models", base / "seed1/models");
  EXPECT_EQ(plan(more).size(), 2u);
}

TEST_F(SweepPlan, OneSweepAtATime) {
  {
    const FileDescriptor taken = take_sweep_folder(runs());
    EXPECT_EQ(message_of<UsageError>([&] { take_sweep_folder(runs()); }),
              runs().string() + ": another sweep is running in this folder");
  }
  take_sweep_folder(runs());
  std::ofstream(folder_ / "file") << "x";
  EXPECT_TRUE(
      contains(message_of<UsageError>([&] { take_sweep_folder(folder_ / "file"); }), "cannot be made"));
}

TEST_F(SweepPlan, WaitsForThoseThatSaveAndNotForEver) {
  const auto planned = plan(two);
  RunFolder busy(planned[1].folder);
  busy.create();
  busy.lock();
  std::vector<std::string> said;
  EXPECT_EQ(message_of<UsageError>(
                [&] { await_folders(planned, 0.1, [&](const std::string& line) { said.push_back(line); }); }),
            planned[1].folder.string() + ": another process is running in this folder");
  EXPECT_EQ(said.size(), 1u);
  std::optional<RunFolder> leaving(std::move(busy));
  std::thread leaves([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    leaving.reset();
  });
  await_folders(planned, 60, {});
  EXPECT_FALSE(RunFolder(planned[1].folder).is_in_use());
  leaves.join();
}

}  // namespace
}  // namespace espalier
