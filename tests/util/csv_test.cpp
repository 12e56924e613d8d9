#include "espalier/util/csv.h"

#include <gtest/gtest.h>

namespace espalier {
namespace {

TEST(Csv, WhatWouldEndAFieldStandsInQuotes) {
  EXPECT_EQ(csv_line({"a", "", "1.5"}), "a,,1.5\n");
  EXPECT_EQ(csv_line({"a,b", "say \"so\"", "two\nlines", "\r"}),
            "\"a,b\",\"say \"\"so\"\"\",\"two\nlines\",\"\r\"\n");
  EXPECT_EQ(csv_line({}), "\n");
}

}  // namespace
}  // namespace espalier
