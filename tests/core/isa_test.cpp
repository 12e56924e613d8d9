// Which set is chosen.
#include "espalier/core/isa.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "espalier/util/error.h"

namespace espalier::isa_test {
namespace {

TEST(Isa, FollowsTheEnvironment) {
  const auto present = available_isas();
  if (const char* wanted = std::getenv("ESPALIER_ISA"))
    EXPECT_STREQ(isa_name(isa()), wanted);
  else
    EXPECT_EQ(isa(), present.empty() ? Isa::baseline : present.back());
  EXPECT_TRUE(std::ranges::is_sorted(present));
}

// The choice is made once a process, so each of these is a process of its own.
using IsaDeathTest = testing::Test;

void choose(const char* wish) {
  setenv("ESPALIER_ISA", wish, 1);
  try {
    std::fprintf(stderr, "chosen: %s\n", isa_name(isa()));
  } catch (const UsageError& error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
  std::_Exit(0);
}

TEST(IsaDeathTest, AnUnknownSetIsRefused) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(choose("sse9"), testing::ExitedWithCode(0),
              "'sse9' is no instruction set, expected avx2 or avx512");
}

TEST(IsaDeathTest, EachPresentSetCanBeChosen) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (const Isa each : available_isas())
    EXPECT_EXIT(choose(isa_name(each)), testing::ExitedWithCode(0), std::string("chosen: ") + isa_name(each));
}

TEST(IsaDeathTest, AMissingSetIsRefused) {
  if (std::ranges::count(available_isas(), Isa::avx512)) GTEST_SKIP() << "this processor has every set";
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(choose("avx512"), testing::ExitedWithCode(0), "this processor has no avx512");
}

}  // namespace
}  // namespace espalier::isa_test
