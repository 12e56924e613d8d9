#include "espalier/run/measures.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace espalier {
namespace {

TEST(Measures, ErrorsAreReportedBesideAccuracies) {
  EXPECT_EQ(reported_measures().size(), measures().size() + 2);
  EXPECT_EQ(reported_measures()[1].name, std::string("error"));
  EXPECT_EQ(measure_named("best_error")->text(1.234), "1.23");
  EXPECT_EQ(measure_named("sparsity")->text(0.95), "95.00");
  EXPECT_EQ(measure_named("macs")->text(266200), "266,200");
  EXPECT_EQ(measure_named("erorr"), nullptr);
  std::set<std::string> names;
  for (const Measure& measure : reported_measures()) names.insert(measure.name);
  EXPECT_EQ(names.size(), reported_measures().size());
}

// By hand: 98, 98.5 and 99.5 lie -2/3, -1/6 and 5/6 from their mean; the squares' sum is 42/36.
TEST(Measures, SpreadIsMeanAndSampleDeviation) {
  const Spread three = spread_of({98, 98.5, 99.5});
  EXPECT_EQ(three.n, 3);
  EXPECT_NEAR(three.mean, 296.0 / 3, 1e-12);
  EXPECT_NEAR(three.deviation.value(), std::sqrt(42.0 / 36 / 2), 1e-12);
  EXPECT_EQ(spread_of({5, 5}).deviation, 0);
  EXPECT_EQ(spread_of({5}).mean, 5);
  EXPECT_FALSE(spread_of({5}).deviation);
  EXPECT_EQ(spread_of({}).n, 0);
  EXPECT_FALSE(spread_of({}).deviation);
}

}  // namespace
}  // namespace espalier
