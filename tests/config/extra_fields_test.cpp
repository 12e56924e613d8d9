#include "espalier/config/extra_fields.h"

#include <gtest/gtest.h>

#include "support/bad_input.h"

namespace espalier::schema {
namespace {

struct Info {
  std::string name;
  std::vector<ExtraOption> extra = {};
};
struct Options {
  std::string type = "plain";
  double lr = 0.1;
  ExtraOptions extra = {};
};

Type<Options> type_of(const Registry<Info>& rows) {
  return object<Options>(
      with_extra_fields<Options>({field("type", &Options::type, one_of(rows.names()), "which"),
                                  field("lr", &Options::lr, number({}), "rate")},
                                 rows, &Options::extra),
      {.defaults = [&rows](Options& o) {
        o.extra = o.extra.with_defaults(rows.named(o.type).extra, o.type);
      }});
}

Registry<Info>& rows() {
  static Registry<Info> all("optimizer",
                            {{"plain"},
                             {"sam",
                              {{.name = "rho", .help = "radius", .value = 0.05, .from = 0, .to = 1},
                               {.name = "adaptive", .help = "or not", .value = false}}},
                             {"asam",
                              {{.name = "rho", .help = "radius", .value = 0.5, .from = 0, .to = 1},
                               {.name = "name", .help = "a text", .value = "x"}}}});
  return all;
}

TEST(ExtraFields, AreFieldsOfTheirRowsWithDefaultsThatComeBack) {
  const auto type = type_of(rows());
  const auto read = [&](const char* text) { return type.read(Json::parse(text), Place("x.json")); };
  EXPECT_EQ(read(R"({"type": "sam"})").extra.number("rho"), 0.05);
  EXPECT_EQ(read(R"({"type": "asam"})").extra.number("rho"), 0.5);
  EXPECT_EQ(read(R"({"type": "sam", "rho": 0.25, "adaptive": true})").extra,
            (ExtraOptions{{"rho", 0.25}, {"adaptive", true}}));
  EXPECT_EQ(type.write(read(R"({"type": "sam", "rho": 0.25})")).dump(),
            R"({"type":"sam","lr":0.1,"rho":0.25,"adaptive":false})");
  EXPECT_EQ(type.write(read(R"({"type": "plain"})")).dump(), R"({"type":"plain","lr":0.1})");
}

TEST(ExtraFields, HaveMessagesAsAllFields) {
  const auto type = type_of(rows());
  const auto why = [&](const char* text) {
    return message_of<UsageError>([&] { type.read(Json::parse(text), Place("x.json")); });
  };
  EXPECT_EQ(why(R"({"type": "sam", "rho": 2})"), "x.json: /rho: found 2, expected a number from 0 to 1");
  EXPECT_EQ(why(R"({"type": "plain", "rho": 0.5})"),
            "x.json: /rho: is for type sam or asam, and the type is plain");
  EXPECT_EQ(why(R"({"type": "sam", "roh": 0.5})"), "x.json: /roh: no such field, did you mean 'rho'?");
  EXPECT_EQ(type.find("adaptive")->help, "or not");
}

TEST(ExtraFields, AreRefusedWhereANameWouldMeanTwoThings) {
  const auto why = [](std::vector<ExtraOption> extra) {
    Registry<Info> two(
        "optimizer",
        {{"plain"}, {"sam", {{.name = "rho", .help = "", .value = 0.05}}}, {"own", std::move(extra)}});
    return message_of<UsageError>([&] { type_of(two); });
  };
  EXPECT_EQ(why({{.name = "lr", .help = "", .value = 1.0}}),
            "optimizer own: extra option 'lr' is a field already");
  EXPECT_EQ(why({{.name = "rho", .help = "", .value = true}}),
            "optimizer own: extra option 'rho' is true or false, and of 'sam' a number");
}

struct InfoWithOptions : Info {
  std::vector<std::string> options = {};
};

TEST(ExtraFields, OptionsOfARowAreFields) {
  Registry<InfoWithOptions> one("optimizer", {{{"plain"}, {"lrr"}}});
  EXPECT_EQ(message_of<UsageError>([&] {
              with_extra_fields<Options>({field("lr", &Options::lr, number({}), "rate")}, one,
                                         &Options::extra);
            }),
            "optimizer plain: option 'lrr' is no field, did you mean 'lr'?");
}

}  // namespace
}  // namespace espalier::schema
