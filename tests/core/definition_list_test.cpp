#include "espalier/core/definition_list.h"

#include <gtest/gtest.h>

namespace espalier {
namespace {

TEST(DefinitionList, LinesAreBrokenAtSpacesAndKeepTheirIndentation) {
  EXPECT_EQ(wrapped_lines("one two three\n  four five\n\nsix", 9), "one two\nthree\n  four\n  five\n\nsix\n");
  EXPECT_EQ(wrapped_lines("a  b", 4), "a  b\n");  // what fits stays as it is
  EXPECT_EQ(wrapped_lines("see https://example.org/long now", 8), "see\nhttps://example.org/long\nnow\n");
  EXPECT_EQ(wrapped_lines("", 8), "");
}

TEST(DefinitionList, NamesStandBesideTheirTexts) {
  EXPECT_EQ(definition_list({{"lr", "learning rate\nabove 0"}, {"momentum", "kept"}, {"eps", ""}}, 80),
            "  lr        learning rate\n"
            "            above 0\n"
            "  momentum  kept\n"
            "  eps\n");
  EXPECT_EQ(definition_list({{"a", "words that are too many for a line"}}, 26, 0),
            "a  words that are too many\n"
            "   for a line\n");
}

TEST(DefinitionList, AVeryLongNameHasALineOfItsOwn) {
  EXPECT_EQ(definition_list({{"a-name-of-more-than-thirty-letters", "text"}, {"b", "text"}}, 80),
            "  a-name-of-more-than-thirty-letters\n"
            "     text\n"
            "  b  text\n");
}

}  // namespace
}  // namespace espalier
