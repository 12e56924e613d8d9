#include "espalier/prune/unit.h"

#include <gtest/gtest.h>

#include "prune/hand_made.h"

namespace espalier {
namespace {

TEST(Unit, WeightsAreNumberedThroughByLayerThenByIndex) {
  HandMade model;
  model.add("conv1.weight", {2, 1, 1, 3}, {1, 2, 3, 4, 5, 6});
  model.add("fc1.weight", {2, 2}, {7, 8, 9, 10});
  const UnitSet units(Unit::weight, model.parameters());
  EXPECT_EQ(units.count, 10);
  ASSERT_EQ(units.layers.size(), 2u);
  EXPECT_EQ(units.layers[0].first, 0);
  EXPECT_EQ(units.layers[0].count, 6);
  EXPECT_EQ(units.layers[0].size, 1);
  EXPECT_EQ(units.layers[1].first, 6);
  EXPECT_EQ(units.layers[1].count, 4);
}

TEST(Unit, ARowIsAllWeightsOfOneOutput) {
  HandMade model;
  model.add("conv1.weight", {2, 3, 3, 4}, std::vector<float>(72, 1.0f));
  model.add("fc1.weight", {5, 7}, std::vector<float>(35, 1.0f));
  const UnitSet units(Unit::row, model.parameters());
  EXPECT_EQ(units.count, 7);
  EXPECT_EQ(units.layers[0].count, 2);
  EXPECT_EQ(units.layers[0].size, 36);
  EXPECT_EQ(units.layers[1].first, 2);
  EXPECT_EQ(units.layers[1].count, 5);
  EXPECT_EQ(units.layers[1].size, 7);
}

TEST(Unit, IsPrunedWhenTheMaskDropsAllOfIt) {
  HandMade model;
  model.add("fc.weight", {3, 2}, {1, 2, 3, 4, 5, 6});
  const UnitSet rows(Unit::row, model.parameters());
  const uint8_t mask[] = {1, 1, 0, 1, 0, 0};
  EXPECT_FALSE(rows.layers[0].pruned(mask, 0));
  EXPECT_FALSE(rows.layers[0].pruned(mask, 1));
  EXPECT_TRUE(rows.layers[0].pruned(mask, 2));
}

TEST(Unit, NamesReadBack) {
  EXPECT_EQ(unit_names(), (std::vector<std::string>{"weight", "row", "channel"}));
  EXPECT_EQ(unit_named("weight"), Unit::weight);
  EXPECT_EQ(unit_named("row"), Unit::row);
  EXPECT_EQ(message_of<UsageError>([] { unit_named("rows"); }),
            "unit: found 'rows', expected one of weight, row, channel, did you mean 'row'?");
}

}  // namespace
}  // namespace espalier
