#include "espalier/core/kernel_choice.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace espalier::kernel_choice::kernel_choice_test {
namespace {

struct Rules : testing::Test {  // every test ends as the program starts
  ~Rules() override {
    set_autotune(false);
    set_all({});
  }
  std::string ran;
  std::vector<Candidate> candidates{
      {"slow", [this] { ran += "s", std::this_thread::sleep_for(std::chrono::milliseconds(2)); }},
      {"fast", [this] { ran += "f"; }}};
};

TEST_F(Rules, AreFollowedWithoutAutotuning) {
  EXPECT_FALSE(active());
  run("shape", candidates, 0);
  EXPECT_EQ(ran, "s");
  EXPECT_TRUE(all().empty());
}

TEST_F(Rules, AutotuningKeepsTheFastestForEachShape) {
  set_autotune(true);
  run("shape", candidates, 0);
  EXPECT_EQ(all().at("shape"), "fast");
  ran.clear();
  run("shape", candidates, 0);
  EXPECT_EQ(ran, "f");
}

TEST_F(Rules, ChoicesThatWereKeptAreFollowedLater) {
  set_all({{"shape", "slow"}, {"other", "gone"}});
  EXPECT_TRUE(active());
  run("shape", candidates, 1);
  run("other", candidates, 1);  // a kernel that no longer exists: the rule
  run("new", candidates, 1);
  EXPECT_EQ(ran, "sff");
}

}  // namespace
}  // namespace espalier::kernel_choice::kernel_choice_test
