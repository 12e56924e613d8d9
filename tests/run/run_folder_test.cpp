#include "espalier/run/run_folder.h"

#include <gtest/gtest.h>

#include <sys/file.h>
#include <sys/syscall.h>

#include <fstream>
#include <functional>

#include "espalier/util/atomic_file.h"
#include "espalier/util/input_file.h"
#include "run/small.h"
#include "support/bad_input.h"
#include "support/temporary_folder.h"

namespace {
std::function<void()> before_lock;  // what another process does just before a folder is locked
}

/// In the place of the C library's.
extern "C" int flock(int fd, int operation) {
  if (const auto act = std::exchange(before_lock, nullptr)) act();
  return static_cast<int>(::syscall(SYS_flock, fd, operation));
}

namespace espalier {
namespace {

namespace fs = std::filesystem;

const std::string tuned_stage =
    R"({"name": "tuned", "train": {"steps": 20, "optimizer": {"type": "sgd", "lr": 0.01, "momentum": 0.9}}})";

RunResult run_in(const fs::path& folder, bool resume) {
  Console console(true);
  return run(small_config(tuned_stage), {.output = folder.string(), .data = {}, .resume = resume}, console);
}

TEST(RunFolder, ARunThatAnotherProcessHasFinishedMeanwhileIsLeftAlone) {
  const TemporaryFolder folder;
  const fs::path done = folder / "done", place = folder / "run";
  run_in(done, false);
  for (const bool resume : {false, true}) {
    fs::remove_all(place);
    before_lock = [&] { fs::copy(done, place, fs::copy_options::recursive); };
    const std::string message = message_of([&] { run_in(place, resume); });
    EXPECT_TRUE(contains(message, resume ? "another process has run in this folder meanwhile"
                                         : "holds a run already; --resume goes on with it"))
        << message;
    for (const char* file : {"result.json", "checkpoint.safetensors", "models/tuned.safetensors", "log.txt"})
      EXPECT_EQ(read_file(place / file), read_file(done / file)) << file;
  }
}

TEST(RunFolder, TwoRunsThatBeginAtOnceTakeFoldersOfTheirOwn) {
  const TemporaryFolder folder;
  run_in(folder / "done", false);
  const fs::path place = fs::current_path();
  fs::current_path(folder.path());
  Console console(true);
  const Config config = small_config(tuned_stage);
  before_lock = [] {  // one that is faster, and has come to its end before this one could lock the folder
    fs::copy("done", "runs/small", fs::copy_options::recursive);
  };
  run(config, {.output = {}, .data = {}}, console);
  EXPECT_EQ(read_file("runs/small/result.json"), read_file("done/result.json"));
  EXPECT_TRUE(fs::exists("runs/small-2/result.json"));
  {
    RunFolder running("runs/small-3");  // one that has written nothing yet
    running.create();
    running.lock();
    run(config, {.output = {}, .data = {}}, console);
    EXPECT_TRUE(fs::exists("runs/small-4/result.json"));
    EXPECT_FALSE(running.holds_run());
  }
  EXPECT_EQ(runs_called("small").size(), 3u);
  fs::current_path(place);
}

TEST(RunFolder, AFolderThatIsReplacedAsItIsLockedIsLeftAlone) {
  const TemporaryFolder folder;
  const fs::path place = folder / "run";
  before_lock = [&] {
    fs::rename(place, folder / "gone");
    fs::create_directory(place);
  };
  EXPECT_TRUE(contains(message_of([&] { run_in(place, false); }),
                       "was removed or replaced as this run began; the same command again"));
  EXPECT_TRUE(fs::is_empty(place));
  EXPECT_TRUE(fs::is_empty(folder / "gone" / "models"));
}

TEST(RunFolder, IsWrittenIntoOnlyWhileItIsTheOneThatWasLocked) {
  const TemporaryFolder folder;
  RunFolder run(folder / "run");
  run.create();
  run.lock();
  EXPECT_EQ(run.for_writing(run.result()).path, run.result());
  const auto message = [&] { return message_of([&] { run.for_writing(run.model("a")); }); };
  const std::string expected =
      run.path().string() +
      ": was removed, renamed or replaced by another folder while this run wrote into "
      "it; models/a.safetensors and what would follow are not written";
  fs::rename(run.path(), folder / "gone");
  EXPECT_EQ(message(), expected);
  RunFolder(run.path()).create();
  EXPECT_EQ(message(), expected);
  fs::remove_all(run.path());
  fs::create_directory_symlink(folder / "gone", run.path());
  EXPECT_EQ(run.for_writing(run.result()).path, run.result()) << "the same folder under another name";
}

TEST(RunFolder, IsNotWrittenIntoWhenItIsReplacedAfterItWasAskedFor) {
  const TemporaryFolder folder;
  RunFolder run(folder / "run");
  run.create();
  run.lock();
  write_file(run.for_writing(run.checkpoint()), "its own");
  const OutputPath result = run.for_writing(run.result()), last = run.for_writing(run.last_step());
  fs::rename(run.path(), folder / "gone");
  EXPECT_TRUE(contains(message_of([&] { write_file(result, "x"); }), "was removed, renamed or replaced"));
  fs::create_directory(run.path());
  EXPECT_TRUE(contains(message_of([&] { write_file(result, "x"); }), "was removed, renamed or replaced"));
  EXPECT_TRUE(
      contains(message_of([&] { keep_as(run.checkpoint(), last); }), "was removed, renamed or replaced"));
  EXPECT_TRUE(fs::is_empty(run.path()));
  write_file(run.path() / "checkpoint.safetensors", "another's");
  EXPECT_TRUE(
      contains(message_of([&] { keep_as(run.checkpoint(), last); }), "was removed, renamed or replaced"));
  EXPECT_EQ(run.files(), std::vector{run.checkpoint()});
  EXPECT_EQ(std::distance(fs::directory_iterator(run.path()), fs::directory_iterator()), 1);
}

TEST(RunFolder, KnowsWhatARunLeavesAndClearsNothingElse) {
  const TemporaryFolder folder;
  const RunFolder run(folder / "run");
  EXPECT_FALSE(run.holds_run());
  run.create();
  EXPECT_FALSE(run.holds_run());
  for (const auto& file : {run.config(), run.model("dense"), run.path() / "mine.txt"}) write_file(file, "x");
  EXPECT_TRUE(run.holds_run());
  EXPECT_FALSE(run.has_checkpoint());
  run.clear();
  EXPECT_EQ(run.files(), std::vector{run.config()}) << "it is replaced in one go";
  EXPECT_FALSE(std::filesystem::exists(run.model("dense")));
  EXPECT_TRUE(std::filesystem::exists(run.path() / "mine.txt"));

  const auto half = run.path() / "config.json.tmp-1-0", other = run.path() / "mine.txt.tmp-1-0";
  for (const auto& file : {half, other}) write_file(file, "x");
  run.create();
  EXPECT_TRUE(std::filesystem::exists(half));
  run.remove_halves();
  EXPECT_FALSE(std::filesystem::exists(half));
  EXPECT_TRUE(std::filesystem::exists(other));
}

TEST(RunFolder, RunsOfANameStandInTheOrderOfTheirNumbers) {
  const TemporaryFolder folder;
  const fs::path place = fs::current_path();
  fs::current_path(folder.path());
  EXPECT_TRUE(runs_called("a").empty());
  for (const char* name : {"a-10", "a-2", "a", "a-02", "a-x", "a-1", "ab-2", "a-2-2"})
    fs::create_directories(fs::path("runs") / name / "models");
  EXPECT_TRUE(runs_called("a").empty());
  for (const auto& entry : fs::directory_iterator("runs")) write_file(entry.path() / "config.json", "{}");
  std::vector<std::string> found;
  for (const RunFolder& run : runs_called("a")) found.push_back(run.path().string());
  EXPECT_EQ(found, (std::vector<std::string>{"runs/a", "runs/a-2", "runs/a-10"}));
  fs::current_path(place);
}

}  // namespace
}  // namespace espalier
