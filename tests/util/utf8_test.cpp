#include "espalier/util/utf8.h"

#include <gtest/gtest.h>

namespace espalier {
namespace {

TEST(Utf8, HoldsCharactersOfOneToFourBytes) {
  for (const std::string text :
       {"", "cat", "caf\xC3\xA9", "\xE7\x8C\xAB", "\xF0\x9F\x90\x88", "\xED\x9F\xBF"})
    EXPECT_TRUE(is_utf8(text)) << text;
  EXPECT_TRUE(is_utf8(std::string("\0\n", 2))) << "control characters are characters";
}

TEST(Utf8, HoldsNothingElse) {
  for (const std::string text : {"caf\xE9", "\xC3", "\xA9", "\xC0\xAF", "\xE0\x9F\xBF", "\xED\xA0\x80",
                                 "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80"})
    EXPECT_FALSE(is_utf8(text)) << testing::PrintToString(text);
}

TEST(Utf8, PrintableLeavesTextAlone) {
  EXPECT_EQ(printable("runs/caf\xC3\xA9 \\n"), "runs/caf\xC3\xA9 \\n");
  EXPECT_EQ(printable(""), "");
}

TEST(Utf8, PrintableShowsWhatATerminalWouldObey) {
  EXPECT_EQ(printable("a\x1b[2Jb\n\tc\r\x7f"), "a\\x1b[2Jb\\n\\tc\\x0d\\x7f");
  EXPECT_EQ(printable(std::string_view("\0x", 2)), "\\x00x");
  EXPECT_EQ(printable("\xC2\x9B"
                      "31m"),
            "\\xc2\\x9b31m")
      << "C1: CSI in one character";
  EXPECT_EQ(printable("caf\xE9!"), "caf\\xe9!");
}

TEST(Utf8, PrintableIsShort) {
  EXPECT_EQ(printable("0123456789", 10), "0123456789");
  EXPECT_EQ(printable("0123456789A", 10), "01234 ... (11 bytes) ... 6789A");
  EXPECT_EQ(printable("\xE7\x8C\xAB\xE7\x8C\xAB\xE7\x8C\xAB", 4), " ... (9 bytes) ... ")
      << "no half characters";
  EXPECT_LT(printable(std::string(900'000, '\x01')).size(), 900u);
}

TEST(Utf8, PrintableLinesKeepsLines) {
  EXPECT_EQ(printable_lines("a\n\x1b[2Jb\n\n"), "a\n\\x1b[2Jb\n\n");
  EXPECT_EQ(printable_lines(""), "");
  EXPECT_EQ(printable_lines("0123456789A\nb", 10), "01234 ... (11 bytes) ... 6789A\nb");
  EXPECT_EQ(printable_lines(std::string(9000, 'x')).size(), 9000u);
}

}  // namespace
}  // namespace espalier
