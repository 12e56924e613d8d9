#include "espalier/util/registry.h"

#include <gtest/gtest.h>

#include "support/bad_input.h"

namespace espalier {
namespace {

struct Row {
  std::string name;
  std::vector<std::string> options;
};
using Strings = std::vector<std::string>;

TEST(Registry, FindsItsRowsAndThoseThatAreAdded) {
  Registry<Row> rows("colour", {{"red", {"light"}}, {"blue", {}}});
  const Row* red = rows.find("red");
  const int64_t before = registrations();
  for (int i = 0; i < 100; ++i) rows.add({"green" + std::to_string(i), {"light", "dark"}});
  EXPECT_EQ(registrations(), before + 100);
  EXPECT_EQ(rows.find("red"), red) << "a row stays where it is";
  EXPECT_EQ(rows.find("yellow"), nullptr);
  EXPECT_EQ(rows.named("green7").name, "green7");
  EXPECT_EQ(rows.names().size(), 102u);
  EXPECT_EQ((Strings{rows.names()[0], rows.names()[1], rows.names()[2]}), (Strings{"red", "blue", "green0"}));
  EXPECT_EQ(rows.names_with("dark").size(), 100u);
  EXPECT_EQ(rows.names_with("light").front(), "red");
}

TEST(Registry, SaysWhichNameIsMeantAndWhichMayNotBeAdded) {
  Registry<Row> rows("colour", {{"red", {}}});
  EXPECT_EQ(message_of<UsageError>([&] { rows.named("rad"); }), "colour: no type 'rad', did you mean 'red'?");
  EXPECT_EQ(message_of<UsageError>([&] { rows.add({"red", {}}); }), "colour: 'red' is there already");
  for (const char* name : {"", "a b", "a/b", "\xc3\xa4"})
    EXPECT_NE(message_of<UsageError>([&] {
                rows.add({name, {}});
              }).find("expected letters, digits"),
              std::string::npos)
        << name;
  EXPECT_EQ(rows.names(), Strings{"red"});
}

struct MadeRow {
  std::string name;
  std::vector<ExtraOption> extra = {};
  int (*make)() = nullptr;
};

TEST(Registry, RefusesARowThatCouldNotBeMade) {
  Registry<MadeRow> rows("optimizer", {});
  EXPECT_EQ(message_of<UsageError>([&] { rows.add({.name = "lion"}); }), "optimizer lion: has no make");
  EXPECT_NE(message_of<UsageError>([&] {
              rows.add({.name = "lion",
                        .extra = {{.name = "rho", .help = "", .value = 2.0, .to = 1}},
                        .make = [] { return 0; }});
            }).find("expected from -inf to 1"),
            std::string::npos);
  EXPECT_TRUE(rows.names().empty());
}

}  // namespace
}  // namespace espalier
