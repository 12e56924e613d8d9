#include "espalier/formats/utf8.h"

#include <gtest/gtest.h>

namespace espalier {
namespace {

TEST(Utf8, HoldsCharactersOfOneToFourBytes) {
  for (const std::string text : {"", "cat", "caf\xC3\xA9", "\xE7\x8C\xAB", "\xF0\x9F\x90\x88"})
    EXPECT_TRUE(is_utf8(text)) << text;
  EXPECT_TRUE(is_utf8(std::string("\0\n", 2))) << "control characters are characters";
}

TEST(Utf8, HoldsNothingElse) {
  for (const std::string text : {"caf\xE9", "\xC3", "\xA9", "\xC0\xAF", "\xED\xA0\x80", "\xF5\x80\x80\x80"})
    EXPECT_FALSE(is_utf8(text)) << testing::PrintToString(text);
}

}  // namespace
}  // namespace espalier
