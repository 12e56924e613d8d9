#include "espalier/util/home.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace espalier {
namespace {

TEST(Home, OnlyATildeThatIsTheFirstPartOfAPathIsIt) {
  const char* set = std::getenv("HOME");
  const std::string before = set ? set : "";
  ::setenv("HOME", "/home/ada", 1);
  EXPECT_EQ(expand_home("~"), "/home/ada");
  EXPECT_EQ(expand_home("~/data/x"), "/home/ada/data/x");
  for (const char* same : {"", "~bob/x", "a/~/b", "/~", "x~", "./~"}) EXPECT_EQ(expand_home(same), same);
  ::unsetenv("HOME");
  EXPECT_EQ(expand_home("~/x"), "~/x");
  if (set) ::setenv("HOME", before.c_str(), 1);
}

}  // namespace
}  // namespace espalier
