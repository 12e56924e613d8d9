#include "espalier/util/stopwatch.h"

#include <gtest/gtest.h>

#include <thread>

namespace espalier {
namespace {

TEST(Stopwatch, RunsFromWhenItIsMade) {
  Stopwatch watch;
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const double milliseconds = watch.milliseconds(), seconds = watch.seconds();
  EXPECT_GE(milliseconds, 20);
  EXPECT_GE(1e3 * seconds, milliseconds);
  watch = {};
  EXPECT_LT(watch.seconds(), seconds) << "begins anew";
}

}  // namespace
}  // namespace espalier
