// What is read, what is refused and in which words, and fields by name.
#include "espalier/config/json.h"

#include <gtest/gtest.h>

#include "support/bad_input.h"

namespace espalier {
namespace {

using Json = nlohmann::ordered_json;
using namespace std::string_literals;

std::string json_refusal(const std::string& text) {
  return message_of([&] { parse_json(text, "x.json"); });
}

std::string nested(size_t depth, const std::string& open, const std::string& close) {
  std::string text;
  for (size_t i = 0; i < depth; ++i) text += open;
  text += "1";
  for (size_t i = 0; i < depth; ++i) text += close;
  return text;
}

TEST(ParseJson, Parses) {
  for (const char* text : {R"({"a":[1,{"a":2}],"b":{"a":3}})", R"([])", R"({})", R"({"z":[],"a":{}})", "7",
                           R"("é\n")", R"([-1,18446744073709551615,0.5,1e+300,true,false,null])"})
    EXPECT_EQ(parse_json(text, "x.json").dump(), text);
  EXPECT_EQ(parse_json("\xEF\xBB\xBF {\"a\": 1}\n", "x.json").dump(), R"({"a":1})") << "a byte order mark";
}

TEST(ParseJson, MistakesHaveLineAndColumn) {
  const std::string ends =
      "not JSON: the text ends before the JSON does: a bracket, brace or quote is not closed";
  const std::string escape = "not JSON: a \\ in a text that begins no escape of JSON's";
  for (const auto& [text, message] : std::vector<std::pair<std::string, std::string>>{
           {"{\n  \"a\": 1,\n}", "3:1: not JSON: a comma before '}'"},
           {"[1, ]", "1:5: not JSON: a comma before ']'"},
           {"{\n  // why\n}", "2:3: not JSON: JSON has no comments"},
           {"{\n  # why\n}", "2:3: not JSON: JSON has no comments that begin with #"},
           {"{\n  / why\n}", "2:3: not JSON: found '/', expected a name in quotes or '}'"},
           {"{'a': 1}", "1:2: not JSON: JSON quotes with \", not with '"},
           {"{\"a\": 1", "1:8: " + ends},
           {"{\"a\": \"b", "1:9: " + ends},
           {"[", "1:2: " + ends},
           {"{\"a\": 1 \"b\\\"c\": 2}", "1:9: not JSON: found a text, expected ',' or '}'"},
           {"{\"a\": 1}\n}", "2:1: not JSON: found '}', expected the end of the text"},
           {"{\"a\" 125}", "1:6: not JSON: found '125', expected ':'"},
           {"{\"a\": NaN}", "1:7: not JSON: found 'NaN', expected a value"},
           {"[1 2]", "1:4: not JSON: found '2', expected ',' or ']'"},
           {"[1}", "1:3: not JSON: found '}', expected ',' or ']'"},
           {"{1: 2}", "1:2: not JSON: found '1', expected a name in quotes or '}'"},
           {"{\"a\": 1, 2}", "1:10: not JSON: found '2', expected a name in quotes"},
           {"[,1]", "1:2: not JSON: found ',', expected a value or ']'"},
           {"{\u201cname\u201d: 1}", "1:2: not JSON: found '\u201c', expected a name in quotes or '}'"},
           {"},", "1:1: not JSON: found '}', expected a value"},
           {"}", "1:1: not JSON: found '}', expected a value"},
           {"[\x1b]", "1:2: not JSON: found '\\x1b', expected a value or ']'"},
           {"{\"a\": \"\xff\"}", "1:8: not JSON: bytes that are not UTF-8"},
           {"[\"\xC3(\"]", "1:4: not JSON: bytes that are not UTF-8"},
           {"[\"a\nb\"]", "1:4: not JSON: a line break or another control character inside of a text"},
           {"[\"a\\qb\"]", "1:5: " + escape},
           {"[\"a\\u12\"]", "1:2: " + escape},
           {"[1.]", "1:4: not JSON: a number that breaks off"},
           {"[-]", "1:3: not JSON: a number that breaks off"},
           {"[01]", "1:2: not JSON: found '01', expected a value or ']'"},
           {"[truex]", "1:2: not JSON: found 'truex', expected a value or ']'"},
           {"{\"a\": 1,\n \"b\": -1e999}", "2:7: a number that is too large"},
           {"1e999", "1:1: a number that is too large"},
           {"{\"a\": 1}\0{\"a\": 2}"s, "1:9: not JSON: a zero byte"},
           {"{}\n\0"s, "2:1: not JSON: a zero byte"}})
    EXPECT_EQ(json_refusal(text), "x.json:" + message) << text;
  EXPECT_EQ(json_refusal(""), "x.json: empty, expected a JSON object");
  EXPECT_EQ(json_refusal(" \n"), "x.json: empty, expected a JSON object");
}

TEST(ParseJson, AFieldThatIsGivenTwiceIsRefused) {
  EXPECT_EQ(json_refusal("{\"a\": 1,\n  \"b\": {\"a\": 2},\n  \"a\": 3}"),
            "x.json:3:3: \"a\" is given twice in one object");
  EXPECT_EQ(json_refusal("[{\"a\": 1, \"a\": 1}]"), "x.json:1:11: \"a\" is given twice in one object");
  EXPECT_EQ(json_refusal("{\"\\u001b\\\"\": 1, \"\\u001b\\\"\": 1}"),
            "x.json:1:17: \"\\x1b\"\" is given twice in one object");
}

TEST(ParseJson, DepthIsBounded) {
  for (const auto& [open, close] : {std::pair("[", "]"), std::pair("{\"a\":", "}")}) {
    const std::string text = nested(deepest_json, open, close);
    EXPECT_EQ(parse_json(text, "x.json").dump(), text);
    for (size_t depth : {deepest_json + 1, size_t{1'000'000}}) {
      const std::string message = json_refusal(nested(depth, open, close));
      EXPECT_EQ(message, join("x.json:1:", deepest_json * std::string(open).size() + 1,
                              ": more than 100 lists and objects inside of each other"));
    }
  }
  EXPECT_TRUE(contains(json_refusal(std::string(1'000'000, '[')), "more than 100 lists"))
      << "and nothing closed";
}

TEST(ParseJson, ManyFieldsTakeNoSquareOfTheirNumber) {
  std::string text = "{";
  for (int i = 0; i < 200'000; ++i) text += (i ? ",\"" : "\"") + std::to_string(i) + "\":0";
  EXPECT_EQ(parse_json(text + "}", "x.json").size(), 200'000u);
}

TEST(ParseJson, MessagesAreShortAndPrintable) {
  for (const std::string& text :
       {"[" + std::string(900'000, 'a') + "]", "[\"" + std::string(900'000, 'a'),
        "{\"" + std::string(900'000, 'a') + "\":1,\"" + std::string(900'000, 'a') + "\":1}"})
    EXPECT_LT(json_refusal(text).size(), 400u);
}

TEST(JsonField, AreReadAsWhatTheyAre) {
  const Json json = parse_json(
      R"({"b": true, "d": 1, "i": -3, "s": "x", "l": [1, 2], "m": {"a": [1], "b": []}, "big": 9007199254740993})",
      "f");
  EXPECT_EQ(json_field<bool>(json, "b", "f"), true);
  EXPECT_EQ(json_field<double>(json, "d", "f"), 1.0);
  EXPECT_EQ(json_field<int>(json, "i", "f"), -3);
  EXPECT_EQ(json_field<std::string>(json, "s", "f"), "x");
  EXPECT_EQ(json_field<std::vector<int64_t>>(json, "l", "f"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ((json_field<std::map<std::string, std::vector<int64_t>>>(json, "m", "f").at("a")),
            std::vector<int64_t>{1});
  EXPECT_EQ(json_field<int64_t>(json, "big", "f"), 9007199254740993) << "not by way of a double";
}

TEST(JsonField, AnythingElseIsSaidWithItsPlace) {
  const Json json =
      parse_json(R"({"a": {"b": [1, 2.5, "x"]}, "big": 18446744073709551615, "text": "\u001b[2J"})", "f");
  const auto of = [&](auto type, const char* name) {
    return message_of([&] { json_field<decltype(type)>(json, name, "f"); });
  };
  EXPECT_EQ(of(0.0, "none"), "f: /none: missing");
  EXPECT_EQ(of(0.0, "a"), "f: /a: found an object, expected a number");
  EXPECT_EQ(of(0.0, "text"), "f: /text: found the text \"\\x1b[2J\", expected a number");
  EXPECT_EQ(of(true, "big"), "f: /big: found 18446744073709551615, expected true or false");
  EXPECT_EQ(of(int{}, "big"),
            "f: /big: found 18446744073709551615, expected a whole number from -2147483648 to 2147483647");
  EXPECT_EQ(of(""s, "big"), "f: /big: found 18446744073709551615, expected text");
  using Lists = std::map<std::string, std::vector<int>>;
  EXPECT_EQ(of(Lists{}, "a"), "f: /a/b/1: found 2.5, expected a whole number from -2147483648 to 2147483647");
  EXPECT_EQ(of(std::vector<int>{}, "a"), "f: /a: found an object, expected a list");
  EXPECT_EQ(message_of([&] { json_field<int>(json["big"], "x", "f"); }),
            "f: found 18446744073709551615, expected an object");
}

}  // namespace
}  // namespace espalier
