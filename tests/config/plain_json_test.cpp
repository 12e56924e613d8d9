#include "espalier/config/plain_json.h"

#include <gtest/gtest.h>

#include "espalier/config/json.h"
#include "support/bad_input.h"

namespace espalier {
namespace {

TEST(PlainJson, CommentsAndTrailingCommasBecomeSpaces) {
  const std::pair<const char*, const char*> cases[] = {
      {"[1, 2]", "[1, 2]"},
      {"[1, 2, ]", "[1, 2  ]"},
      {"{\"a\": [1,],}", "{\"a\": [1 ] }"},
      {"[1] // one", "[1]       "},
      {"[1, // one\n 2, // two\n]", "[1,       \n 2        \n]"},
      {"[1 /* a\n\tb */, 2]", "[1     \n\t    , 2]"},
      {"[1, /* , */]", "[1         ]"},
      {"[\"// no\", \"a, ]\", \"\\\"/* no */\"]", "[\"// no\", \"a, ]\", \"\\\"/* no */\"]"},
      {"[1 /**/]", "[1     ]"},
      {"[\"b\",]", "[\"b\" ]"},
  };
  for (const auto& [text, plain] : cases) EXPECT_EQ(plain_json(text, "x.json"), plain) << text;
}

TEST(PlainJson, WhatIsWrongKeepsItsPlace) {
  const auto refusal = [](const std::string& text) {
    return message_of([&] { parse_json(plain_json(text, "x.json"), "x.json"); });
  };
  EXPECT_EQ(refusal("{ // a\n  /* b\n */ 1}"),
            "x.json:3:5: not JSON: found '1', expected a name in quotes or '}'");
  EXPECT_EQ(refusal("[1,\n/* never"), "x.json:2:1: not JSON: a comment that no */ closes");
  EXPECT_EQ(refusal("[,]"), "x.json:1:2: not JSON: found ',', expected a value or ']'");
  EXPECT_EQ(refusal("[1,,]"), "x.json:1:4: not JSON: found ',', expected a value");
  EXPECT_EQ(refusal("{\"a\":,}"), "x.json:1:6: not JSON: found ',', expected a value");
  EXPECT_EQ(refusal("[1], // more"), "x.json:1:4: not JSON: found ',', expected the end of the text");
  EXPECT_EQ(refusal("# why\n[]"), "x.json:1:1: not JSON: JSON has no comments that begin with #");
  EXPECT_EQ(refusal("// nothing else"), "x.json: empty, expected a JSON object");
  EXPECT_EQ(refusal("[\"a"),
            "x.json:1:4: not JSON: the text ends before the JSON does: a bracket, brace or quote "
            "is not closed");
}

}  // namespace
}  // namespace espalier
