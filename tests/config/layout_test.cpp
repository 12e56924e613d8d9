#include "espalier/config/layout.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace espalier {
namespace {

using Json = nlohmann::ordered_json;

const Json written_down =
    Json::parse(R"({"a": {"b": [1, 2.5, true], "c": "x\"y"}, "empty": {}, "list": [{"d": null}, []]})");

TEST(LaidOut, WhatFitsStandsInALine) {
  EXPECT_EQ(laid_out(written_down, 100),
            R"({"a": {"b": [1, 2.5, true], "c": "x\"y"}, "empty": {}, "list": [{"d": null}, []]})");
  EXPECT_EQ(laid_out(Json("text"), 1), "\"text\"");
}

TEST(LaidOut, WhatDoesNotHasALineForEachValue) {
  EXPECT_EQ(laid_out(written_down, 45), R"({
  "a": {"b": [1, 2.5, true], "c": "x\"y"},
  "empty": {},
  "list": [{"d": null}, []]
})");
  EXPECT_EQ(laid_out(written_down, 24), R"({
  "a": {
    "b": [1, 2.5, true],
    "c": "x\"y"
  },
  "empty": {},
  "list": [
    {"d": null},
    []
  ]
})");
}

TEST(LaidOut, ReadsBackAsWhatItWas) {
  for (const size_t width : {1, 10, 30, 60})
    EXPECT_EQ(Json::parse(laid_out(written_down, width)), written_down) << width;
}

TEST(LaidOut, NoLineIsLongerThanItsWidth) {
  // {"list": [1, 2, 3], "b": 1} has 27 bytes, and a place is kept for a comma.
  const Json json = {{"list", {1, 2, 3}}, {"b", 1}};
  EXPECT_EQ(laid_out(json, 28), R"({"list": [1, 2, 3], "b": 1})");
  EXPECT_EQ(laid_out(json, 27), "{\n  \"list\": [1, 2, 3],\n  \"b\": 1\n}");
}

}  // namespace
}  // namespace espalier
