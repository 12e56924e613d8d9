#include "espalier/util/table.h"

#include <gtest/gtest.h>

namespace espalier {
namespace {

TEST(Table, AlignsTextLeftAndNumbersRightAndLeavesEmptyColumnsOut) {
  Table table({"<name", "empty", "count"});
  table.add({"a", "", "1"});
  table.add({"longer", "", "1,000,000"});
  EXPECT_EQ(table.str(),
            "name        count\n"
            "a               1\n"
            "longer  1,000,000\n");
}

TEST(Table, LeavesNoSpacesAtTheEndOfALine) {
  Table table({"<a", "<b"});
  table.add({"1"});
  table.add({"2", "long"});
  EXPECT_EQ(table.str(), "a  b\n1\n2  long\n");
}

Table layers() {
  Table table({"<layer", "<shape", "weights", "share", "<"});
  table.add({"fc1", "256x784", "200,704", "50.00 %", "#####....."});
  table.add({"fc2", "10x256", "2,560", "0.00 %", ".........."});
  return table;
}

TEST(Table, DropsColumnsFromTheRightUntilItFits) {
  EXPECT_EQ(layers().str(44),
            "layer  shape    weights    share\n"
            "fc1    256x784  200,704  50.00 %  #####.....\n"
            "fc2    10x256     2,560   0.00 %  ..........\n");
  EXPECT_EQ(layers().str(40),  // one space between
            "layer shape   weights   share\n"
            "fc1   256x784 200,704 50.00 % #####.....\n"
            "fc2   10x256    2,560  0.00 % ..........\n");
  EXPECT_EQ(layers().str(30),  // a column without a title is not missed
            "layer shape   weights   share\n"
            "fc1   256x784 200,704 50.00 %\n"
            "fc2   10x256    2,560  0.00 %\n");
  EXPECT_EQ(layers().str(21),
            "layer shape   weights\n"
            "fc1   256x784 200,704\n"
            "fc2   10x256    2,560\n"
            "no room for: share\n");
}

TEST(Table, KeepsWhatItWasToldToKeep) {
  Table table = layers();
  table.keep({3});
  EXPECT_EQ(table.str(21),
            "layer shape     share\n"
            "fc1   256x784 50.00 %\n"
            "fc2   10x256   0.00 %\n"
            "no room for: weights\n");
}

TEST(Table, KeepsTheFirstOfThoseLongest) {
  Table table = layers();
  table.keep({3, 2});
  EXPECT_EQ(table.str(14),
            "layer   share\n"
            "fc1   50.00 %\n"
            "fc2    0.00 %\n"
            "no room for:\n"
            "shape, weights\n");
}

TEST(Table, DropsAWideColumnRatherThanTheNarrowOnesBehindIt) {
  Table table({"<run", "<weights", "scope", "accuracy"});
  table.keep({3});
  table.add({"a", std::string(24, 'w'), "layer", "97.0"});
  EXPECT_EQ(table.str(30),
            "run scope accuracy\n"
            "a   layer     97.0\n"
            "no room for: weights\n");
}

TEST(Table, ShortensTextsThatLeaveNoRoom) {
  Table table({"<name", "count"});
  table.add({std::string(20, 'a') + std::string(20, 'z'), "1"});
  EXPECT_EQ(table.str(40), "name                     count\n" + std::string(11, 'a') + ".." +
                               std::string(11, 'z') + "     1\n");
}

TEST(Table, AlignsByWhatATerminalShows) {
  Table table({"<name", "n"});
  table.add({"Größe", "1"});
  table.add({"大きさ", "2"});
  table.add({"abcdef", "3"});
  EXPECT_EQ(table.str(), "name    n\nGröße   1\n大きさ  2\nabcdef  3\n");
}

TEST(DurationText, IsOfThreePartsFromAnHourOn) {
  EXPECT_EQ(duration_text(0.25), "0.25 s");
  EXPECT_EQ(duration_text(59.4), "59 s");
  EXPECT_EQ(duration_text(59.6), "1:00");
  EXPECT_EQ(duration_text(80), "1:20");
  EXPECT_EQ(duration_text(4280), "1:11:20");
}

TEST(Grouped, PutsACommaBetweenThousands) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(-123456), "-123,456");
  EXPECT_EQ(grouped(511428608), "511,428,608");
}

TEST(Plural, IsOfAnyNumberButOne) {
  EXPECT_EQ(plural(1, "image"), "image");
  for (const int64_t number : {0, 2, 1000}) EXPECT_EQ(plural(number, "image"), "images");
}

TEST(BytesText, HasThreeDigitsAndAUnit) {
  EXPECT_EQ(bytes_text(999), "999 B");
  EXPECT_EQ(bytes_text(943176), "943 kB");
  EXPECT_EQ(bytes_text(80346768), "80.3 MB");
  EXPECT_EQ(bytes_text(1500000000), "1.5 GB");
  EXPECT_EQ(bytes_text(4e12), "4.0 TB");
  EXPECT_EQ(bytes_text(3.1e17), "310000.0 TB");
}

}  // namespace
}  // namespace espalier
