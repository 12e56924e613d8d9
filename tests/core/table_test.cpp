#include "espalier/core/table.h"

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

TEST(Grouped, PutsACommaBetweenThousands) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(-123456), "-123,456");
  EXPECT_EQ(grouped(511428608), "511,428,608");
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
