#include "espalier/train/json_text.h"

#include <gtest/gtest.h>

#include "support/bad_input.h"

namespace espalier {
namespace {

std::string refusal(const std::string& text) {
  return message_of([&] { parse_json(text, "x.json"); });
}

TEST(JsonText, Parses) {
  const auto json = parse_json("{\"a\": [1, {\"a\": 2}], \"b\": {\"a\": 3}}\n", "x.json");
  EXPECT_EQ(json.dump(), R"({"a":[1,{"a":2}],"b":{"a":3}})");
}

TEST(JsonText, MistakesHaveLineAndColumn) {
  const std::string ends =
      "not JSON: the text ends before the JSON does: a bracket, brace or quote is not closed";
  EXPECT_EQ(refusal(""), "x.json: empty, expected a JSON object");
  EXPECT_EQ(refusal(" \n"), "x.json: empty, expected a JSON object");
  EXPECT_EQ(refusal("{\n  \"a\": 1,\n}"), "x.json:3:1: not JSON: a comma before '}'");
  EXPECT_EQ(refusal("[1, ]"), "x.json:1:5: not JSON: a comma before ']'");
  EXPECT_EQ(refusal("{\n  // why\n}"), "x.json:2:3: not JSON: JSON has no comments");
  EXPECT_EQ(refusal("{\n  # why\n}"), "x.json:2:3: not JSON: JSON has no comments");
  EXPECT_EQ(refusal("{'a': 1}"), "x.json:1:2: not JSON: JSON quotes with \", not with '");
  EXPECT_EQ(refusal("{\"a\": 1"), "x.json:1:8: " + ends);
  EXPECT_EQ(refusal("{\"a\": \"b"), "x.json:1:9: " + ends);
  EXPECT_EQ(refusal("{\"a\": 1 \"b\\\"c\": 2}"),
            "x.json:1:9: not JSON: unexpected string literal; expected '}'");
  EXPECT_EQ(refusal("{\"a\": 1}\n}"), "x.json:2:1: not JSON: unexpected '}'; expected end of input");
  EXPECT_EQ(refusal("{\"a\" 125}"), "x.json:1:6: not JSON: unexpected number literal; expected ':'");
  EXPECT_EQ(refusal("{\"a\": NaN}"), "x.json:1:7: not JSON: invalid literal");
  EXPECT_EQ(refusal("{\"a\": \"\xff\"}"), "x.json:1:8: not JSON: invalid string: ill-formed UTF-8 byte");
  EXPECT_EQ(refusal("{\"a\": 1,\n \"b\": -1e999}"), "x.json:2:7: a number that is too large");
}

TEST(JsonText, AFieldThatIsGivenTwiceIsRefused) {
  EXPECT_EQ(refusal("{\"a\": 1,\n  \"b\": {\"a\": 2},\n  \"a\": 3}"),
            "x.json:3:3: \"a\" is given twice in one object");
  EXPECT_EQ(refusal("[{\"a\": 1, \"a\": 1}]"), "x.json:1:11: \"a\" is given twice in one object");
}

}  // namespace
}  // namespace espalier
