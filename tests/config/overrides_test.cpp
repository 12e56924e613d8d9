#include "espalier/config/overrides.h"

#include <gtest/gtest.h>

#include "support/bad_input.h"

namespace espalier {
namespace {

using namespace schema;

struct Leaf {
  std::string name;
  int64_t count = 1;
  std::optional<std::string> note;
};
struct Root {
  std::optional<Leaf> inner;
  std::vector<Leaf> list;
  std::vector<std::pair<std::string, int64_t>> of;
};

Description description() {
  const Type<Leaf> leaf = object<Leaf>({field("name", &Leaf::name, text(), "its name"),
                                        field("count", &Leaf::count, whole(1), "how many"),
                                        field("note", &Leaf::note, text(), "anything")});
  return object<Root>(
      {field("inner", &Root::inner, leaf, "one"), field("list", &Root::list, list_of(leaf), "many"),
       field("of", &Root::of, map_of("thing", whole(1)), "by name")},
      {.later = {"shadow"}});
}

const std::string start = R"({"list":[{"name":"first"},{"name":"second.one"},{"name":"0"}]})";

Overrides apply_all(Json& root, const Description& description, const std::vector<std::string>& assignments) {
  Overrides overrides{.given = assignments};
  for (size_t i = 0; i < assignments.size(); ++i) apply_override(root, description, i, overrides);
  return overrides;
}

struct Result {
  std::string pointer, json;
};
Result apply(const std::string& assignment, const std::string& json = start) {
  Json root = Json::parse(json);
  const Overrides done = apply_all(root, description(), {assignment});
  return {done.set.empty() ? "" : done.set.back().pointer(), root.dump()};
}

TEST(Overrides, AddToAList) {
  EXPECT_EQ(apply(R"(list.+={"name":"last"})", R"({"list":[{"name":"first"}]})").json,
            R"({"list":[{"name":"first"},{"name":"last"}]})");
  EXPECT_EQ(apply(R"(/list/+={"name":"last"})").pointer, "/list/3");
  EXPECT_EQ(apply("list.+.count=2", R"({"list":[]})").json, R"({"list":[{"count":2}]})");
  EXPECT_EQ(apply("list.+=null").json, start) << "there was nothing to take away";
  EXPECT_EQ(apply(R"(list.+={"name":"one"})", "{}").json, R"({"list":[{"name":"one"}]})") << "makes the list";
  EXPECT_EQ(apply(R"(list.+={"name":"one"})", "{}").pointer, "/list/0");
  EXPECT_EQ(apply("/list/+/count=2", "{}").json, R"({"list":[{"count":2}]})");
  EXPECT_EQ(apply("list.+=null", "{}").json, "{}");
}

TEST(Overrides, ValuesMayHaveWhatConfigsMay) {
  EXPECT_EQ(apply(R"(inner={"count": 3,})", "{}").json, R"({"inner":{"count":3}})");
  EXPECT_EQ(apply(R"(list=[{"name": "a",}, /* and */ ])", "{}").json, R"({"list":[{"name":"a"}]})");
  EXPECT_EQ(apply("inner.note=a, // b", "{}").json, R"({"inner":{"note":"a, // b"}})");
}

TEST(Overrides, SetFields) {
  EXPECT_EQ(apply("inner.count=3", "{}").json, R"({"inner":{"count":3}})");
  EXPECT_EQ(apply("inner.count=3", "{}").pointer, "/inner/count");
  EXPECT_EQ(apply("inner={\"count\": 3}", "{}").json, R"({"inner":{"count":3}})");
  EXPECT_EQ(apply("inner.count=many", "{}").json, R"({"inner":{"count":"many"}})");
  EXPECT_EQ(apply("inner.note=a=b", "{}").json, R"({"inner":{"note":"a=b"}})");
  EXPECT_EQ(apply("of.a.b=3", "{}").json, R"({"of":{"a.b":3}})") << "a name of a map may hold dots";
  EXPECT_EQ(apply("of.a.b=3", "{}").pointer, "/of/a.b");
  EXPECT_EQ(apply("of.a=null", R"({"of":{"a":1,"b":2}})").json, R"({"of":{"b":2}})");
  EXPECT_EQ(apply("inner.note=", "{}").json, R"({"inner":{"note":""}})");
}

TEST(Overrides, AValueKnowsWhereItWasSet) {
  const auto message = [](const std::string& where) {
    Json root = Json::parse(start);
    Overrides overrides{.given = {"list.first.count=0"}};
    if (!where.empty()) overrides.where = where;
    apply_override(root, description(), 0, overrides);
    const Place at = Place("x.json", overrides.set) / "list" / 0 / "count";
    return message_of([&] { at.fail("found 0"); });
  };
  EXPECT_EQ(message(""), "x.json: list.first.count: found 0 (set on the command line)");
  EXPECT_EQ(message("in the sweep"), "x.json: list.first.count: found 0 (set in the sweep)");
}

TEST(Overrides, TextNeedsNoQuotes) {
  EXPECT_EQ(apply("inner.note=2024", "{}").json, R"({"inner":{"note":"2024"}})");
  EXPECT_EQ(apply("inner.note=\"2024\"", "{}").json, R"({"inner":{"note":"2024"}})");
}

TEST(Overrides, NullTakesAFieldAway) {
  EXPECT_EQ(apply("inner.count=null", R"({"inner":{"count":3,"note":"x"}})").json,
            R"({"inner":{"note":"x"}})");
  EXPECT_EQ(apply("inner.note=null", R"({"inner":{"count":3,"note":"x"}})").json, R"({"inner":{"count":3}})");
}

TEST(Overrides, ElementsGoByNameOrNumber) {
  EXPECT_EQ(apply("list.first.count=2").pointer, "/list/0/count");
  EXPECT_EQ(apply("list.1.count=2").pointer, "/list/1/count");
  EXPECT_EQ(apply("list.second.one.count=2").pointer, "/list/1/count");
  EXPECT_EQ(apply("list.0.count=2").pointer, "/list/2/count");  // a name comes before a number
  EXPECT_EQ(apply("list.second.one={}").json, R"({"list":[{"name":"first"},{},{"name":"0"}]})");
}

TEST(Overrides, PathsThatLeadNowhereAreNamed) {
  const auto refusal = [](const std::string& assignment, const std::string& json = start) {
    return message_of([&] { apply(assignment, json); });
  };
  EXPECT_EQ(refusal("inner"), "--set inner: expected path.to.field=value");
  EXPECT_EQ(refusal("=3"), "--set =3: expected path.to.field=value");
  EXPECT_EQ(refusal("iner.count=3"), "--set iner.count=3: iner: no such field, did you mean 'inner'?");
  EXPECT_EQ(refusal("zebra=3"), "--set zebra=3: zebra: no such field, known: inner, list, of");
  EXPECT_EQ(refusal("inner.count.x=3"),
            "--set inner.count.x=3: inner.count: is a whole number of at least 1, which has no field 'x'");
  EXPECT_EQ(refusal("list.77.count=3"),
            "--set list.77.count=3: list: no element '77' in a list of 3, known: first, second.one, 0");
  EXPECT_EQ(refusal("list.frist.count=3"),
            "--set list.frist.count=3: list: no element 'frist' in a list of 3, did you mean 'first'?");
  EXPECT_EQ(
      refusal("list.second.count=3"),
      "--set list.second.count=3: list: no element 'second' in a list of 3, did you mean 'second.one'?");
  EXPECT_EQ(refusal("list.0.count=3", "{}"),
            "--set list.0.count=3: list: there is no list here in the config");
  EXPECT_EQ(refusal("inner.count=3", "{\"inner\": 3}"),
            "--set inner.count=3: inner: there is no object here in the config");
  EXPECT_EQ(refusal("inner.count=3", "[]"), "--set inner.count=3: there is no object here in the config");
  EXPECT_EQ(refusal("list.x\ny=3", R"({"list":[{"name":"z\nz"}]})"),
            "--set list.x\\ny=3: list: no element 'x\\ny' in a list of 1, known: z\\nz");
  EXPECT_EQ(refusal("x\n=3"), "--set x\\n=3: x\\n: no such field, known: inner, list, of");
  EXPECT_EQ(
      refusal("inner.count.x\n=3"),
      "--set inner.count.x\\n=3: inner.count: is a whole number of at least 1, which has no field 'x\\n'");
  EXPECT_EQ(refusal("inner.note=\xff"), "--set inner.note=\\xff: inner.note: the value is not UTF-8");
  const std::string deep = std::string(60'000, '[') + std::string(60'000, ']');
  EXPECT_TRUE(contains(refusal("list=" + deep),
                       ": list: the value:1:101: more than 100 lists and objects inside of each other"));
}

TEST(Overrides, ADesignedFieldIsRefusedAsInAFile) {
  const std::string in_file =
      message_of([] { check_field("shadow", description(), Json(), Place("f.json")); });
  EXPECT_EQ(in_file, "f.json: /shadow: not built yet");
  EXPECT_EQ(message_of([] { apply("shadow=1"); }), "--set shadow=1: shadow: not built yet");
  EXPECT_EQ(message_of([] { apply("shadow.depth=1"); }), "--set shadow.depth=1: shadow: not built yet");
}

TEST(Overrides, APathHasNoEmptyPart) {
  for (const auto& [path, place] : std::vector<std::pair<std::string, std::string>>{
           {"inner.", ""},
           {"inner.count.", "inner"},
           {"inner..count", "inner"},
           {".inner", ""},
           {".", ""},
           {"list.", ""},
           {"list.first.", "list"},
           {"list.first..count", "list.first"},
           {"list.0.", "list"},
           {"list..0", "list"},
       }) {
    EXPECT_EQ(message_of([&] { apply(path + "=3"); }),
              "--set " + path + "=3: " + (place.empty() ? "" : place + ": ") +
                  "the path has an empty part, expected a name on both sides of a dot");
  }
}

TEST(Overrides, AJsonPointerWillDo) {
  EXPECT_EQ(apply("/list/1/count=2").pointer, "/list/1/count");
  EXPECT_EQ(apply("/list/second.one/count=2").pointer, "/list/1/count");
  EXPECT_EQ(apply("/inner={\"count\": 3}", "{}").json, R"({"inner":{"count":3}})");
  const auto refusal = [](const std::string& assignment) { return message_of([&] { apply(assignment); }); };
  EXPECT_EQ(refusal("/=3"), "--set /=3: expected /path/to/field=value");
  EXPECT_EQ(refusal("/list/77/count=3"),
            "--set /list/77/count=3: /list: no element '77' in a list of 3, known: first, second.one, 0");
  EXPECT_EQ(refusal("/list/1/cuont=3"),
            "--set /list/1/cuont=3: /list/1/cuont: no such field, did you mean 'count'?");
  EXPECT_EQ(
      refusal("/list//count=3"),
      "--set /list//count=3: /list: the path has an empty part, expected a name on both sides of a slash");
  EXPECT_EQ(refusal("/a~1b=3"), "--set /a~1b=3: /a~1b: no such field, known: inner, list, of");
}

TEST(Overrides, NullTakesAnElementAway) {
  EXPECT_EQ(apply("list.first=null").json, R"({"list":[{"name":"second.one"},{"name":"0"}]})");
  EXPECT_EQ(apply("list.1=null").json, R"({"list":[{"name":"first"},{"name":"0"}]})");
  EXPECT_EQ(apply("inner.note=null").json, start) << "no 'inner' comes of it";

  Json root = Json::parse(start);
  const Overrides done = apply_all(root, description(),
                                   {"list.second.one.count=2", "list.first.count=3", "list.2.count=4",
                                    "list.0=null", "list.second.one=null"});
  EXPECT_EQ(root.dump(), R"({"list":[{"name":"first","count":3}]})");
  ASSERT_EQ(done.set.size(), 1u) << "those of what has gone went with it";
  EXPECT_EQ(done.set[0].pointer(), "/list/0/count");
  EXPECT_EQ(done.set[0].path.back().typed, "list.first.count");
}

struct Outline {
  std::string type = "box";
  std::optional<int64_t> width, height, radius;
  std::optional<Leaf> fill;
};

/// Sets values in a shape, and says what is left and what was left out.
std::string reshaped(const std::string& json, const std::vector<std::string>& assignments) {
  const Type<Outline> shape = object<Outline>(
      {field("type", &Outline::type, one_of({"box", "circle"}), "its kind"),
       field("width", &Outline::width, whole(1), "wide").only_for({"box"}),
       field("height", &Outline::height, whole(1), "high").only_for({"box"}),
       field("radius", &Outline::radius, whole(1), "round").only_for({"circle"}),
       field("fill", &Outline::fill, object<Leaf>({field("name", &Leaf::name, text(), "its name")}), "ink")},
      {.exactly_one = {{"width", "radius", "fill"}}});
  Json root = Json::parse(json);
  const Overrides done = apply_all(root, shape, assignments);
  std::string text = root.dump();
  for (const std::string& note : done.notes) text += "\n" + note;
  return text;
}

TEST(Overrides, AValueTakesThePlaceOfThoseThatItExcludes) {
  EXPECT_EQ(reshaped(R"({"width":3})", {"fill={\"name\":\"x\"}"}),
            R"({"fill":{"name":"x"}})"
            "\n--set fill={\"name\":\"x\"}: takes the place of width 3");
  EXPECT_EQ(reshaped(R"({"fill":{"name":"x"}})", {"width=3"}),
            R"({"width":3})"
            "\n--set width=3: takes the place of fill {\"name\":\"x\"}");
  EXPECT_EQ(reshaped(R"({"width":3})", {"width=4"}), R"({"width":4})");
  EXPECT_EQ(reshaped(R"({"width":3})", {"fill.name=x"}), R"({"width":3,"fill":{"name":"x"}})")
      << "an object that is added on the way is no alternative that was asked for";
}

TEST(Overrides, AnotherTypeLeavesOutWhatItHasNoUseFor) {
  EXPECT_EQ(reshaped(R"({"width":3,"height":4})", {"type=circle"}),
            R"({"type":"circle"})"
            "\n--set type=circle: has no use for, and leaves out, width 3"
            "\n--set type=circle: has no use for, and leaves out, height 4");
  EXPECT_EQ(reshaped(R"({"type":"circle","radius":3})", {"type=box", "width=1"}),
            R"({"type":"box","width":1})"
            "\n--set type=box: has no use for, and leaves out, radius 3");
  EXPECT_EQ(reshaped(R"({"width":3})", {"type=cirlce"}), R"({"width":3,"type":"cirlce"})");
}

TEST(Overrides, WhatTheCommandLineSetsItDoesNotLeaveOut) {
  EXPECT_EQ(reshaped("{}", {"width=3", "radius=4"}), R"({"width":3,"radius":4})");
  EXPECT_EQ(reshaped("{}", {"height=3", "type=circle"}), R"({"height":3,"type":"circle"})");
}

TEST(Overrides, LostQuotesAreRecognised) {
  const auto refusal = [](const std::vector<std::string>& assignments) {
    Json root = Json::parse(start);
    return message_of([&] { apply_all(root, description(), assignments); });
  };
  EXPECT_EQ(
      refusal({"inner={name:x, count:3}"}),
      "--set inner={name:x, count:3}: inner: the shell took the quotes of the value; in single quotes they "
      "stay: --set 'inner={\"name\":\"x\", \"count\":3}'");
  EXPECT_TRUE(contains(refusal({"list=[{name:it's}]"}), R"(--set 'list=[{"name":"it'\''s"}]')"));
  EXPECT_TRUE(
      contains(refusal({"inner=name:x", "inner=count:3"}), R"(--set 'inner={"name":"x","count":3}')"));
  EXPECT_EQ(refusal({"inner={\"count\": 3"}),
            "--set inner={\"count\": 3: inner: the value:1:12: not JSON: the text ends before the JSON does: "
            "a bracket, brace "
            "or quote is not closed");
  EXPECT_EQ(apply("inner.note={name:x}", "{}").json, R"({"inner":{"note":"{name:x}"}})") << "is text";
}

TEST(Overrides, PathsOfPointers) {
  const Json root = Json::parse(start);
  EXPECT_EQ(path_of("/list/1/count", root), "list.second.one.count");
  EXPECT_EQ(path_of("/list/7/count", root), "list.7.count");
  EXPECT_EQ(path_of("/inner/a~1b/0", root), "inner.a/b.0");
  EXPECT_EQ(path_of("", root), "");
}

}  // namespace
}  // namespace espalier
