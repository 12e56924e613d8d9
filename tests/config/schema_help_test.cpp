#include "espalier/config/schema_help.h"

#include <gtest/gtest.h>

namespace espalier::schema {
namespace {

struct Share {
  double share = 0.5;
};
struct Step {
  std::string type = "dense";
  double rate = 0;
  Share cut, trim;
  std::optional<bool> fast, slow;
};
struct Plan {
  std::vector<Step> steps;
  std::vector<std::pair<std::string, double>> limits;
};

Type<Plan> plan() {
  const Type<Share> cut =
      object<Share>({field("share", &Share::share, number({.from = 0, .to = 1}), "what goes")});
  const Type<Step> step = object<Step>(
      {field("type", &Step::type, one_of({"dense", "sparse", "both", "none"}), "its kind").required(),
       field("rate", &Step::rate, number({.from = 0}), "how fast").only_for({"dense", "sparse", "both"}),
       field("cut", &Step::cut, cut, "at once"), field("trim", &Step::trim, cut, "later"),
       field("fast", &Step::fast, boolean(), "now"), field("slow", &Step::slow, boolean(), "then")},
      {.exactly_one = {{"fast", "slow"}}, .defaults = [](Step& s) { s.rate = s.type == "sparse" ? 2 : 1; }});
  return object<Plan>({field("steps", &Plan::steps, list_of(step), "what is done").required(),
                       field("limits", &Plan::limits, map_of("layer", number({})), "of layers")});
}

TEST(SchemaHelp, ASectionForEachObject) {
  const Type<Plan> object = plan();
  std::vector<std::string> paths;
  for (const Section& section : sections(object)) paths.push_back(section.path + " as " + section.same_as);
  EXPECT_EQ(paths, (std::vector<std::string>{" as ", "steps.N as ", "steps.N.cut as ",
                                             "steps.N.trim as steps.N.cut"}));
}

// As two lists of other lengths do, and two switches of which one is needed and two that are free.
TEST(SchemaHelp, SectionsThatDifferInOneRuleAreNotTheSame) {
  struct Part {
    std::vector<int64_t> sizes;
    bool fast = false, slow = false;
  };
  struct All {
    Part two, three, one, any, twice;
  };
  const auto sized = [](size_t length) {
    return object<Part>({field("sizes", &Part::sizes, list_of(whole(1), {length, length}), "in pixels")});
  };
  const auto switched = [](const Rules<Part>& rules) {
    return object<Part>(
        {field("fast", &Part::fast, boolean(), "now"), field("slow", &Part::slow, boolean(), "then")}, rules);
  };
  const auto object_of_all =
      object<All>({field("two", &All::two, sized(2), "a"), field("three", &All::three, sized(3), "b"),
                   field("one", &All::one, switched({.exactly_one = {{"fast", "slow"}}}), "c"),
                   field("any", &All::any, switched({}), "d"), field("twice", &All::twice, sized(2), "e")});
  std::vector<std::string> same_as;
  for (const Section& section : sections(object_of_all)) same_as.push_back(section.same_as);
  EXPECT_EQ(same_as, (std::vector<std::string>{"", "", "", "", "", "two"}));
}

TEST(SchemaHelp, DefaultsOfVariantsHaveALineEach) {
  const Type<Plan> object = plan();
  EXPECT_EQ(section_text(sections(object)[1], 80),
            "steps.N: what is done\n"
            "  type  its kind\n"
            "        one of dense, sparse, both, none; required\n"
            "  rate  how fast\n"
            "        a number of at least 0\n"
            "        for every type but none\n"
            "        default 1.0 for type dense, both\n"
            "        default 2.0 for type sparse\n"
            "  cut   at once\n"
            "        an object; default {\"share\": 0.5}\n"
            "  trim  later\n"
            "        an object; default {\"share\": 0.5}\n"
            "  fast  now\n"
            "        true or false\n"
            "  slow  then\n"
            "        true or false\n"
            "  exactly one of fast, slow\n");
  EXPECT_EQ(section_text(sections(object)[3], 80), "steps.N.trim: later\n  the same fields as steps.N.cut\n");
}

TEST(SchemaHelp, PathsAsTheyAreTyped) {
  for (const char* path : {"steps.N.cut", "steps.cut", "/steps/0/cut", "steps.3.cut"})
    EXPECT_EQ(plain_path(path), "steps.cut") << path;
  const Type<Plan> object = plan();
  for (const char* word : {"steps.N.cut", "steps.cut", "cut", "/steps/0/cut"}) {
    const auto found = sections_named(word, object);
    ASSERT_EQ(found.size(), 1u) << word;
    EXPECT_EQ(found[0].path, "steps.N.cut");
  }
  for (const char* word : {"steps.first.cut", "/steps/first/cut", "steps.v1.2.cut", "steps.a.b.cut"}) {
    const auto found = sections_named(word, object);  // by the name of a list's element, which may have dots
    ASSERT_EQ(found.size(), 1u) << word;
    EXPECT_EQ(found[0].path, "steps.N.cut");
    EXPECT_EQ(help_on(word + std::string(".share"), object, 80),
              "steps.N.cut.share\n    what goes\n    a number from 0 to 1; default 0.5\n");
  }
  for (const char* word : {"first.cut", "first", "steps.first.cut.share.more", "stops.first.cut"})
    EXPECT_TRUE(sections_named(word, object).empty()) << word;
  EXPECT_TRUE(sections_named("ut", object).empty());
  EXPECT_TRUE(sections_named("", object).empty());
}

TEST(SchemaHelp, AWordIsAFieldInEachPlaceOrAValue) {
  const Type<Plan> object = plan();
  EXPECT_EQ(help_on("share", object, 80),
            "steps.N.cut.share, steps.N.trim.share\n"
            "    what goes\n"
            "    a number from 0 to 1; default 0.5\n");
  EXPECT_EQ(help_on("sparse", object, 80),
            "steps.N.type\n"
            "    may be \"sparse\": its kind\n"
            "    rate  how fast\n"
            "          a number of at least 0; default 2.0\n");
  EXPECT_EQ(help_on("dash", object, 80), "");
  EXPECT_NE(help_on("limits", object, 80), "");
  EXPECT_EQ(help_on("limits.layer1.0.conv", object, 80), help_on("limits", object, 80)) << "a map's key";
}

}  // namespace
}  // namespace espalier::schema
