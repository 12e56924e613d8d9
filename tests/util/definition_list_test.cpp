#include "espalier/util/definition_list.h"

#include <gtest/gtest.h>

namespace espalier {
namespace {

TEST(DefinitionList, NamesStandBesideTheirTexts) {
  EXPECT_EQ(definition_list({{"lr", "learning rate\nabove 0"}, {"momentum", "kept"}, {"eps", ""}}, 80),
            "  lr        learning rate\n"
            "            above 0\n"
            "  momentum  kept\n"
            "  eps\n");
  EXPECT_EQ(definition_list({{"a", "words that are too many for a line"}}, 26, 0),
            "a  words that are too many\n"
            "   for a line\n");
  EXPECT_EQ(definition_list({{"größe", "x"}, {"größer", "y"}}, 80, 0), "größe   x\ngrößer  y\n");
}

TEST(DefinitionList, AVeryLongNameHasALineOfItsOwn) {
  EXPECT_EQ(definition_list({{"a-name-of-more-than-thirty-letters", "text"}, {"b", "text"}}, 80),
            "  a-name-of-more-than-thirty-letters\n"
            "     text\n"
            "  b  text\n");
}

}  // namespace
}  // namespace espalier
