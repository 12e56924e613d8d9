#include "espalier/core/shape.h"

#include <gtest/gtest.h>

#include "support/bad_input.h"

namespace espalier::shape_test {
namespace {

TEST(Shape, CountsElements) {
  EXPECT_EQ(Shape{}.elements(), 1) << "a scalar";
  EXPECT_EQ((Shape{2, 3, 4, 5, 6}).elements(), 720);
  EXPECT_EQ((Shape{2, 3, 4}).row_elements(), 12);
  EXPECT_EQ((Shape{7}).row_elements(), 1);
  EXPECT_EQ((Shape{3, 0, 4}).elements(), 0);
}

TEST(Shape, IndexesFromBothEnds) {
  const Shape s{2, 3, 5};
  EXPECT_EQ(s.axes(), 3);
  EXPECT_EQ(s[0], 2);
  EXPECT_EQ(s[-1], 5);
  EXPECT_EQ(s[-3], 2);
}

TEST(Shape, WithReplacesOneAxis) {
  const Shape s{2, 3, 5};
  EXPECT_EQ(s.with(0, 9), (Shape{9, 3, 5}));
  EXPECT_EQ(s.with(-1, 1), (Shape{2, 3, 1}));
  EXPECT_EQ(s, (Shape{2, 3, 5}));
}

TEST(Shape, ComparesAxesAndSizes) {
  EXPECT_EQ((Shape{2, 3}), (Shape{2, 3}));
  EXPECT_NE((Shape{2, 3}), (Shape{3, 2}));
  EXPECT_NE((Shape{2}), (Shape{2, 1}));
  EXPECT_NE((Shape{2}), (Shape{2, 0})) << "unused axes are 0 inside";
}

TEST(Shape, Prints) {
  EXPECT_EQ(Shape{}.str(), "[]");
  EXPECT_EQ((Shape{64, 28, 28, 1}).str(), "[64, 28, 28, 1]");
}

TEST(Shape, RefusesWhatItCannotHold) {
  EXPECT_TRUE(contains(message_of([] { Shape{1, 1, 1, 1, 1, 1}; }), "6 axes, at most 5"));
  EXPECT_TRUE(contains(message_of([] { Shape{4, -1}; }), "axis 1 has negative size -1"));
}

}  // namespace
}  // namespace espalier::shape_test
