#include "espalier/util/mistakes.h"

#include <gtest/gtest.h>

#include "support/bad_input.h"
#include "support/mistakes.h"

namespace espalier {
namespace {

TEST(Mistakes, NoneAreNotTold) {
  Mistakes mistakes;
  EXPECT_TRUE(mistakes.attempt("/a", [] {}));
  EXPECT_NO_THROW(mistakes.report("x"));
}

TEST(Mistakes, OneIsToldAsItWas) {
  Mistakes mistakes;
  EXPECT_FALSE(mistakes.attempt("/a", [] { fail("missing"); }));
  EXPECT_EQ(message_of([&] { mistakes.report("x"); }), "missing");
  try {
    mistakes.report("x");
  } catch (const UsageError&) {
    ADD_FAILURE() << "it was none";
  } catch (const Error&) {
  }
}

TEST(Mistakes, SeveralAreToldInALineEachAndOnceEach) {
  Mistakes part, mistakes;
  part.attempt("/a", [] { fail("one"); });
  part.attempt("/b", [] { fail_usage("two"); });
  mistakes.attempt(
      "", [&] { part.report("part"); }, "in a: ");
  mistakes.attempt("/c", [] { fail("in a: two"); });
  mistakes.attempt("/c", [] { fail("three"); });
  const std::vector<std::string> lines{"in a: one", "in a: two", "three", "x: 3 mistakes"};
  EXPECT_EQ(mistakes_of([&] { mistakes.report("x"); }), lines);
  EXPECT_THROW(mistakes.report("x"), UsageError) << "one of them is";
}

TEST(Mistakes, SpareWhatLiesApart) {
  Mistakes mistakes;
  mistakes.attempt("/a/b", [] { fail("wrong"); });
  for (const char* wrong : {"", "/a", "/a/b", "/a/b/c"}) EXPECT_FALSE(mistakes.spare(wrong)) << wrong;
  for (const char* sound : {"/b", "/a/c", "/a/bc", "/ab"}) EXPECT_TRUE(mistakes.spare(sound)) << sound;
}

}  // namespace
}  // namespace espalier
