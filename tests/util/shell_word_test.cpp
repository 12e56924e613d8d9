#include "espalier/util/shell_word.h"

#include <gtest/gtest.h>

namespace espalier {
namespace {

TEST(ShellWord, IsQuotedWhereAShellWouldReadMoreInIt) {
  EXPECT_EQ(shell_word("runs/mnist-2"), "runs/mnist-2");
  EXPECT_EQ(shell_word("my runs/x"), "'my runs/x'");
  EXPECT_EQ(shell_word("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_word("{a,b}"), "'{a,b}'");
  EXPECT_EQ(shell_word(""), "''");
}

}  // namespace
}  // namespace espalier
