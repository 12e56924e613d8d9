#include "espalier/util/jobs.h"

#include <gtest/gtest.h>

#include <csignal>
#include <map>

#include "espalier/util/input_file.h"
#include "espalier/util/interrupt.h"
#include "espalier/util/stopwatch.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

std::map<size_t, JobEnd> run_scripts(const std::vector<std::string>& scripts, size_t most) {
  std::vector<std::vector<std::string>> commands;
  for (const std::string& script : scripts) commands.push_back({"sh", "-c", script});
  std::map<size_t, JobEnd> ends;
  run_jobs("/bin/sh", commands, most, [&](size_t which, const JobEnd& end) {
    EXPECT_FALSE(ends.contains(which));
    ends[which] = end;
  });
  return ends;
}

TEST(Jobs, EachSaysHowItEnded) {
  const auto ends =
      run_scripts({"exit 0", "exit 3", "echo no use >&2; exit 1", "kill -9 $$", "echo heard"}, 2);
  ASSERT_EQ(ends.size(), 5u);
  EXPECT_TRUE(ends.at(0).succeeded());
  EXPECT_EQ(ends.at(1).code, 3);
  EXPECT_FALSE(ends.at(1).succeeded());
  EXPECT_EQ(ends.at(2).errors, "no use\n");
  EXPECT_EQ(ends.at(3).signal, 9);
  EXPECT_FALSE(ends.at(3).succeeded());
  EXPECT_TRUE(ends.at(4).errors.empty());
}

TEST(Jobs, NoneAreNone) { EXPECT_TRUE(run_scripts({}, 3).empty()); }

TEST(Jobs, TheyReadNothing) { EXPECT_EQ(run_scripts({"read line && exit 9; exit 4"}, 1).at(0).code, 4); }

TEST(Jobs, OneAtATimeInTheirOrder) {
  const TemporaryFolder folder;
  const std::string log = (folder / "log").string();
  const auto script = [&](const std::string& name) {
    return "echo begins " + name + " >>" + log + "; sleep 0.02; echo ends " + name + " >>" + log;
  };
  run_scripts({script("a"), script("b"), script("c")}, 1);
  EXPECT_EQ(read_file(log), "begins a\nends a\nbegins b\nends b\nbegins c\nends c\n");
}

TEST(Jobs, AsManyAtATimeAsAsked) {
  const TemporaryFolder folder;
  const auto meets = [&](const std::string& mine, const std::string& other) {  // within 20 seconds
    return "cd " + folder.path().string() + "; touch " + mine + "; for i in $(seq 1000); do [ -e " + other +
           " ] && exit 0; sleep 0.02; done; exit 1";
  };
  for (const auto& [which, end] : run_scripts({meets("a", "b"), meets("b", "a")}, 2))
    EXPECT_TRUE(end.succeeded()) << which;
}

TEST(Jobs, OfMuchThatIsWrittenTheLastIsKept) {
  const auto ends = run_scripts({"yes line | head -c 1000000 >&2; echo the last >&2"}, 1);
  EXPECT_LT(ends.at(0).errors.size(), 200'000u);
  EXPECT_GT(ends.at(0).errors.size(), 60'000u);
  EXPECT_TRUE(ends.at(0).errors.ends_with("line\nthe last\n") || ends.at(0).errors.ends_with("the last\n"));
}

TEST(Jobs, AProgramThatIsNotThereIsSaidToBe) {
  JobEnd found;
  run_jobs("/no/such/program", {{"x"}}, 1, [&](size_t, const JobEnd& end) { found = end; });
  EXPECT_EQ(found.code, 127);
  EXPECT_EQ(found.errors, "cannot be started\n");
}

TEST(Jobs, WhoeverIsToldMayEndThemAll) {
  const Stopwatch watch;
  const auto stop = [](size_t, const JobEnd&) { throw std::runtime_error("enough"); };
  EXPECT_THROW(run_jobs("/bin/sh", {{"sh", "-c", "exit 0"}, {"sh", "-c", "exec sleep 60"}}, 2, stop),
               std::runtime_error);
  EXPECT_LT(watch.seconds(), 30);
}

#if !defined(__SANITIZE_THREAD__)  // which delivers signals late
// In a process of its own: a signal stays noted for good.
TEST(Jobs, ASignalIsPassedOnAndNoneBeginsAfterIt) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP})
    EXPECT_EXIT(
        {
          catch_interrupts();
          const std::string name = std::to_string(signal);
          // The first sends it to this process only, and ends when it comes back.
          const std::string first =
              "trap 'exit 7' " + name + "; kill -" + name + " $PPID; while :; do sleep 0.02; done";
          std::vector<int> codes;
          try {
            run_jobs("/bin/sh", {{"sh", "-c", first}, {"sh", "-c", "exit 0"}}, 1,
                     [&](size_t, const JobEnd& end) { codes.push_back(end.code); });
          } catch (const Interrupted& interrupted) {
            std::exit(codes == std::vector<int>{7} && interrupted.signal() == signal ? 42 : 2);
          }
          std::exit(3);
        },
        testing::ExitedWithCode(42), "");
}
#endif

}  // namespace
}  // namespace espalier
