#include "espalier/config/schema.h"

#include <gtest/gtest.h>

#include "support/bad_input.h"
#include "support/mistakes.h"

namespace espalier::schema {
namespace {

// A shape is a circle or a box, grey unless it says so; a box is 2 high unless it says so.
struct Colour {
  double red = 0.5;
};
struct Base {
  std::string type;
  double height = 1;
};
struct Figure : Base {
  double radius = 0;
  std::optional<int64_t> copies;
  std::vector<std::string> tags = {"new"};
  Colour colour;
  std::optional<bool> filled, hollow;
};

Type<Figure> figure() {
  const Type<Colour> colour =
      object<Colour>({field("red", &Colour::red, number({.from = 0, .to = 1}), "share of red")});
  return object<Figure>(
      {field("type", &Base::type, one_of({"circle", "box", "line"}, {"star"}), "its kind").required(),
       field("height", &Base::height, number({.above = 0}), "metres"),
       field("radius", &Figure::radius, number({.from = 0, .below = 9}), "metres")
           .required()
           .only_for({"circle"}),
       field("copies", &Figure::copies, whole(1, 5), "how many"),
       field("tags", &Figure::tags, list_of(text(), {.to = 2}), "words").only_for({"circle", "box"}),
       field("colour", &Figure::colour, colour, "its colour"),
       field("filled", &Figure::filled, boolean(), "inside"),
       field("hollow", &Figure::hollow, boolean(), "outside")},
      {.exactly_one = {{"filled", "hollow"}},
       .later = {"shadow"},
       .renamed = {{"copys", "copies"}, {"rad", "radius"}},
       .defaults = [](Figure& f) { f.height = f.type == "box" ? 2 : 1; },
       .check =
           [](const Figure& f, const Place& at) {
             if (f.radius > f.height) (at / "radius").fail("above height");
           }});
}

Figure read(const std::string& json) { return figure().read(Json::parse(json), Place("f.json")); }
std::string refusal(const std::string& json) {
  return message_of([&] { read(json); });
}

TEST(Schema, ReadsWithDefaults) {
  const Figure box = read(R"({"type": "box", "filled": true})");
  EXPECT_EQ(box.height, 2);
  EXPECT_FALSE(box.copies);
  EXPECT_EQ(box.tags, std::vector<std::string>{"new"});
  EXPECT_EQ(box.colour.red, 0.5);
  EXPECT_TRUE(*box.filled);
  const Figure circle =
      read(R"({"type": "circle", "radius": 0.5, "hollow": false, "copies": 3, "colour": {"red": 1}})");
  EXPECT_EQ(circle.height, 1);
  EXPECT_EQ(circle.radius, 0.5);
  EXPECT_EQ(circle.copies, 3);
  EXPECT_EQ(circle.colour.red, 1);
}

TEST(Schema, WritesWhatApplies) {
  const auto written = [](const std::string& json) { return figure().write(read(json)).dump(); };
  EXPECT_EQ(written(R"({"hollow": true, "copies": 2.0, "type": "line"})"),
            R"({"type":"line","height":1.0,"copies":2,"colour":{"red":0.5},"hollow":true})");
  EXPECT_EQ(written(R"({"type": "circle", "radius": 0.1, "tags": [], "filled": true})"),
            R"({"type":"circle","height":1.0,"radius":0.1,"tags":[],"colour":{"red":0.5},"filled":true})");
}

TEST(Schema, Refuses) {
  EXPECT_EQ(refusal("3"), "f.json: found 3, expected an object");
  EXPECT_EQ(refusal(R"({"type": "box", "hieght": 1})"),
            "f.json: /hieght: no such field, did you mean 'height'?");
  EXPECT_EQ(refusal(R"({"type": "box", "shadow": 1})"), "f.json: /shadow: not built yet");
  EXPECT_EQ(refusal(R"({"type": "box", "copys": 2})"), "f.json: field 'copys' is now called 'copies'");
  EXPECT_EQ(refusal(R"({"filled": true})"), "f.json: /type: missing, expected one of circle, box, line");
  EXPECT_EQ(refusal(R"({"type": "star"})"),
            "f.json: /type: 'star' is not built yet, this version has circle, box, line");
  EXPECT_EQ(refusal(R"({"type": "circle", "filled": true})"),
            "f.json: /radius: missing, expected a number from 0 to below 9");
  EXPECT_EQ(refusal(R"({"type": "box", "radius": 1})"),
            "f.json: /radius: is for type circle, and the type is box");
  EXPECT_EQ(refusal(R"({"type": "line", "tags": []})"),
            "f.json: /tags: is for type circle or box, and the type is line");
  EXPECT_EQ(refusal(R"({"type": "box"})"), "f.json: found none, expected exactly one of filled, hollow");
  EXPECT_EQ(refusal(R"({"type": "box", "filled": true, "hollow": true})"),
            "f.json: found filled and hollow, expected exactly one of filled, hollow");
  EXPECT_EQ(refusal(R"({"type": "box", "filled": true, "colour": {"red": 1.5}})"),
            "f.json: /colour/red: found 1.5, expected a number from 0 to 1");
  EXPECT_EQ(refusal(R"({"type": "box", "filled": true, "tags": ["a", "b", "c"]})"),
            "f.json: /tags: found a list of 3, expected a list of 0 to 2, each text");
  EXPECT_EQ(refusal(R"({"type": "box", "filled": true, "tags": ["a", 2]})"),
            "f.json: /tags/1: found 2, expected text");
  EXPECT_EQ(refusal(R"({"type": "box", "filled": true, "copies": 6})"),
            "f.json: /copies: found 6, expected a whole number from 1 to 5");
  EXPECT_EQ(refusal(R"({"type": "circle", "filled": true, "radius": 2})"), "f.json: /radius: above height");
}

// What is read where mistakes are gathered.
Figure read_in_spite(Mistakes& mistakes, const std::string& json) {
  return figure().read(Json::parse(json), Place("f.json", {}, &mistakes));
}

TEST(Schema, GathersMistakesAndReadsTheRest) {
  Mistakes mistakes;
  const Figure figure = read_in_spite(
      mistakes,
      R"({"type": "box", "hieght": 1, "copies": 3, "radius": 1, "tags": ["a", 2], "colour": {"red": 2, "blue": 1}})");
  const std::vector<std::string> lines{"f.json: /hieght: no such field, did you mean 'height'?",
                                       "f.json: /radius: is for type circle, and the type is box",
                                       "f.json: /tags/1: found 2, expected text",
                                       "f.json: /colour/red: found 2, expected a number from 0 to 1",
                                       "f.json: /colour/blue: no such field, known: red",
                                       "f.json: found none, expected exactly one of filled, hollow",
                                       "f.json: 6 mistakes"};
  EXPECT_EQ(mistakes_of([&] { mistakes.report("f.json"); }), lines);
  EXPECT_EQ(figure.copies, 3);
  EXPECT_EQ(figure.height, 2) << "a box's";
  EXPECT_EQ(figure.tags.front(), "a");
}

// The old name of a required field is that field, and so no second mistake.
TEST(Schema, AFieldOfAnotherNameNowIsOneMistake) {
  Mistakes mistakes;
  read_in_spite(mistakes, R"({"type": "circle", "rad": 1, "filled": 3})");
  EXPECT_EQ(
      mistakes_of([&] { mistakes.report("f.json"); }),
      (std::vector<std::string>{"f.json: field 'rad' is now called 'radius'",
                                "f.json: /filled: found 3, expected true or false", "f.json: 2 mistakes"}));
}

// Whoever mends them goes through the file from its top.
TEST(Schema, MistakesComeInTheOrderOfTheFile) {
  Mistakes mistakes;
  read_in_spite(mistakes, R"({"filled": 1, "copies": 9, "height": 0, "type": "box"})");
  EXPECT_EQ(mistakes_of([&] { mistakes.report("f.json"); }),
            (std::vector<std::string>{"f.json: /filled: found 1, expected true or false",
                                      "f.json: /copies: found 9, expected a whole number from 1 to 5",
                                      "f.json: /height: found 0, expected a number above 0",
                                      "f.json: 3 mistakes"}));
}

TEST(Schema, AllThatIsWrongInAMapIsTold) {
  Mistakes mistakes;
  const auto rates = map_of("layer", number({.above = 0}));
  const auto read =
      rates.read(Json::parse(R"({"a": 1, "b": -1, "c": "x", "d": 2})"), Place("f.json", {}, &mistakes));
  EXPECT_EQ(mistakes_of([&] { mistakes.report("f.json"); }),
            (std::vector<std::string>{"f.json: /b: found -1, expected a number above 0",
                                      "f.json: /c: found the text \"x\", expected a number above 0",
                                      "f.json: 2 mistakes"}));
  EXPECT_EQ(read, (std::vector<std::pair<std::string, double>>{{"a", 1}, {"d", 2}}));
}

TEST(Schema, WhatFollowsFromAMistakeIsNotTold) {
  const auto told = [](const std::string& json) {
    Mistakes mistakes;
    read_in_spite(mistakes, json);
    return message_of([&] { mistakes.report("f.json"); });
  };
  EXPECT_EQ(told(R"({"tpye": "box", "filled": true})"), "f.json: /tpye: no such field, did you mean 'type'?");
  EXPECT_EQ(told(R"({"type": "circle", "radios": 1, "filled": true})"),
            "f.json: /radios: no such field, did you mean 'radius'?");
  EXPECT_EQ(told(R"({"type": "box", "filed": true})"),
            "f.json: /filed: no such field, did you mean 'filled'?");
  EXPECT_EQ(told(R"({"type": "bax", "radius": 3, "filled": true})"),
            "f.json: /type: found the text \"bax\", expected one of circle, box, line, did you mean 'box'?")
      << "whose radius it is is not known";
  EXPECT_EQ(told(R"({"type": "circle", "radius": 2, "filled": 1})"),
            "f.json: /filled: found 1, expected true or false")
      << "relations are of sound values";
}

TEST(Schema, PlacesAreJsonPointers) { EXPECT_EQ((Place("f") / "a/b" / 3 / "~").pointer(), "/a~1b/3/~0"); }

TEST(Schema, OnlyWhatTheCommandLineSetIsMarked) {
  const Place place("f", {{{{"/a", "/a"}, {"/a/1", "/a/1"}}}});
  const auto message = [](const Place& at) { return message_of([&] { at.fail("wrong"); }); };
  EXPECT_EQ(message(place / "a" / 1), "f: /a/1: wrong (set on the command line)");
  EXPECT_EQ(message(place / "a" / 1 / "b"), "f: /a/1/b: wrong (set on the command line)");
  EXPECT_EQ(message(place / "a" / 10), "f: /a/10: wrong");
  EXPECT_EQ(message(place / "a"), "f: /a: wrong");
}

TEST(Schema, APathIsSaidAsItWasTyped) {
  const Place place("f", {{{{"/a", "a"}, {"/a/1", "a.first"}, {"/a/1/type", "a.first.type"}}}});
  const auto message = [](const Place& at) { return message_of([&] { at.fail("wrong"); }); };
  EXPECT_EQ(message(place / "a" / 1 / "type" / 0), "f: a.first.type.0: wrong (set on the command line)");
  EXPECT_EQ(message(place / "a" / 1 / "size"), "f: a.first.size: wrong");
  EXPECT_EQ(message(place / "a" / 1), "f: a.first: wrong");
  EXPECT_EQ(message(place / "a" / 10 / "type"), "f: a.10.type: wrong");
  EXPECT_EQ(message(place / "a"), "f: a: wrong");
  EXPECT_EQ(message(place / "b"), "f: /b: wrong");
}

TEST(Schema, FileNames) {
  const auto type = file_name();
  for (const char* name : {"a", "7", "lenet-300_v1.2", "A.b"}) {
    EXPECT_EQ(type.read(Json(name), Place("f")), name);
  }
  for (const char* name : {"", ".", "..", ".a", "-a", "a/b", "a b", "a\n", "\xc3\xa4"}) {
    EXPECT_THROW(type.read(Json(name), Place("f")), UsageError) << name;
  }
  EXPECT_EQ(type.read(Json(std::string(100, 'a')), Place("f")).size(), 100u);
  EXPECT_THROW(type.read(Json(std::string(101, 'a')), Place("f")), UsageError);
}

TEST(Schema, JsonSchema) {
  const Json schema = full_json_schema(figure());
  EXPECT_EQ(schema["required"], Json({"type"}));
  EXPECT_EQ(schema["additionalProperties"], false);
  EXPECT_EQ(schema["properties"]["copies"].dump(),
            R"({"description":"how many","type":"integer","minimum":1,"maximum":5})");
  EXPECT_EQ(schema["properties"]["height"].dump(),
            R"({"description":"metres","type":"number","exclusiveMinimum":0.0})");
  EXPECT_EQ(schema["properties"]["tags"]["maxItems"], 2);
  EXPECT_EQ(schema["properties"]["colour"]["properties"]["red"]["default"], 0.5);
  EXPECT_EQ(schema["dependentSchemas"]["tags"].dump(),
            R"({"properties":{"type":{"enum":["circle","box"]}}})");
  EXPECT_EQ(schema["allOf"].dump(),
            R"([{"if":{"properties":{"type":{"enum":["circle"]}}},"then":{"required":["radius"]}},)"
            R"({"oneOf":[{"required":["filled"]},{"required":["hollow"]}]}])");
}

TEST(Schema, JsonSchemaSaysWhatListsMapsAndObjectsHold) {
  struct Nothing {};
  const auto lists = list_of(list_of(whole(1, 3)), {1, 2});
  EXPECT_EQ(full_json_schema(lists).dump(),
            R"({"type":"array","items":{"type":"array","items":{"type":"integer","minimum":1,"maximum":3}},)"
            R"("minItems":1,"maxItems":2})");
  const auto map = map_of("layer", object(std::vector<Field<Nothing>>()));
  EXPECT_EQ(full_json_schema(map).dump(),
            R"({"type":"object","additionalProperties":)"
            R"({"type":"object","additionalProperties":false,"properties":{}}})");
}

// A cut is plain unless it says so; only a fancy one has frills.
struct Cut {
  std::string kind = "plain";
  int64_t frills = 3;
};

TEST(Schema, WhatNamesTheVariantMayHaveADefault) {
  const Type<Cut> cut = object<Cut>({field("kind", &Cut::kind, one_of({"plain", "fancy"}), "of cut"),
                                     field("frills", &Cut::frills, whole(1), "how many").only_for({"fancy"})},
                                    {.variant = "kind"});
  const auto written = [&](const char* json) {
    return cut.write(cut.read(Json::parse(json), Place("f.json"))).dump();
  };
  EXPECT_EQ(written("{}"), R"({"kind":"plain"})");
  EXPECT_EQ(written(R"({"kind": "fancy"})"), R"({"kind":"fancy","frills":3})");
  EXPECT_EQ(message_of([&] { written(R"({"frills": 2})"); }),
            "f.json: /frills: is for kind fancy, and the kind is plain");
  const Json schema = full_json_schema(cut);
  EXPECT_EQ(schema["properties"]["kind"]["default"], "plain");
  EXPECT_EQ(schema["dependentSchemas"]["frills"].dump(),
            R"({"properties":{"kind":{"enum":["fancy"]}},"required":["kind"]})");
}

}  // namespace
}  // namespace espalier::schema
