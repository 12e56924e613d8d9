#include "espalier/util/terminal.h"

#include <gtest/gtest.h>

namespace espalier {
namespace {

TEST(Columns, AreThoseOfATerminalNotBytes) {
  EXPECT_EQ(columns_of("Größe"), 5u);
  EXPECT_EQ(columns_of("大きさ"), 6u);
  EXPECT_EQ(columns_of("e\u0301"), 1u);  // the accent stands on the e
  EXPECT_EQ(cut_to("大きさ", 5), "大き");
  EXPECT_EQ(cut_to("Größe", 3), "Grö");
}

TEST(Shortened, KeepsTheBeginningAndTheEnd) {
  EXPECT_EQ(shortened("abcdef", 6), "abcdef");
  EXPECT_EQ(shortened("abcdefghij", 6), "ab..ij");
  EXPECT_EQ(shortened("äöüßäöüßäö", 7), "äö..ßäö");
  EXPECT_EQ(shortened("abc", 2), "ab");
}

TEST(Fitted, DropsFieldsFromTheRight) {
  const std::vector<std::string> fields{"dense", "epoch 1/3", "loss 0.5"};
  EXPECT_EQ(fitted(fields, any_width), "dense  epoch 1/3  loss 0.5");
  EXPECT_EQ(fitted(fields, 26), "dense  epoch 1/3  loss 0.5");
  EXPECT_EQ(fitted(fields, 25), "dense  epoch 1/3");
  EXPECT_EQ(fitted(fields, 4), "d..e");
}

TEST(Wrapped, BreaksLinesAtSpacesAndKeepsTheirIndentation) {
  EXPECT_EQ(wrapped("one two three\n  four five\n\nsix", 9), "one two\nthree\n  four\n  five\n\nsix\n");
  EXPECT_EQ(wrapped("one two three", any_width), "one two three\n");
  EXPECT_EQ(wrapped("a  b", 4), "a  b\n");  // what fits stays as it is
  EXPECT_EQ(wrapped("see https://example.org/long now", 8), "see\nhttps://example.org/long\nnow\n");
  EXPECT_EQ(wrapped("", 8), "");
}

TEST(Wrapped, CountsColumnsNotBytes) {
  EXPECT_EQ(wrapped("grün äöü ß", 8), "grün äöü\nß\n");
  EXPECT_EQ(wrapped("大き さ x", 6), "大き\nさ x\n");
}

}  // namespace
}  // namespace espalier
