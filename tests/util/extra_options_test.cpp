#include "espalier/util/extra_options.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/bad_input.h"

namespace espalier {
namespace {

const std::vector<ExtraOption> declared = {
    {.name = "rho", .help = "radius", .value = 0.05, .from = 0, .to = 1},
    {.name = "every", .help = "steps", .value = 10, .from = 1},
    {.name = "adaptive", .help = "or not", .value = false},
    {.name = "mode", .help = "how", .value = "plain"}};

TEST(ExtraOptions, HaveTheDefaultsThatAreDeclaredWhereNothingIsGiven) {
  const ExtraOptions defaults = ExtraOptions().with_defaults(declared, "sam");
  EXPECT_EQ(defaults.number("rho"), 0.05);
  EXPECT_EQ(defaults.whole("every"), 10);
  EXPECT_FALSE(defaults.flag("adaptive"));
  EXPECT_EQ(defaults.text("mode"), "plain");
  const ExtraOptions given = ExtraOptions{{"rho", 0.5}, {"adaptive", true}}.with_defaults(declared, "sam");
  EXPECT_EQ(given.number("rho"), 0.5);
  EXPECT_TRUE(given.flag("adaptive"));
  EXPECT_EQ(given.whole("every"), 10);
}

TEST(ExtraOptions, RefuseWhatIsNotDeclared) {
  const auto why = [](const ExtraOptions& given) {
    return message_of<UsageError>([&] { given.with_defaults(declared, "optimizer sam"); });
  };
  EXPECT_EQ(why({{"rh", 0.5}}), "optimizer sam: no option 'rh', did you mean 'rho'?");
  EXPECT_EQ(why({{"rho", 2.0}}), "optimizer sam: rho: found 2, expected from 0 to 1");
  EXPECT_EQ(why({{"every", 0}}), "optimizer sam: every: found 0, expected from 1 to inf");
  EXPECT_EQ(why({{"rho", true}}), "optimizer sam: option 'rho' is a number, and true or false was given");
}

TEST(ExtraOptions, HaveDefaultsThatAreInTheirRange) {
  const auto why = [](const ExtraOption& option) {
    return message_of<UsageError>([&] { check_extra_options({option}, "optimizer sam"); });
  };
  EXPECT_EQ(why({.name = "rho", .help = "", .value = 2.0, .from = 0, .to = 1}),
            "optimizer sam: the default of extra option: rho: found 2, expected from 0 to 1");
  EXPECT_NE(why({.name = "rho", .help = "", .value = std::nan("")}), "");
  check_extra_options(declared, "optimizer sam");
}

TEST(ExtraOptions, AreReadAsWhatTheyAre) {
  const ExtraOptions options = ExtraOptions().with_defaults(declared, "sam");
  EXPECT_EQ(message_of<Error>([&] { options.number("rhoo"); }),
            "option 'rhoo' is not there: neither given nor filled in from what its row declares");
  EXPECT_EQ(message_of<Error>([&] { options.whole("rho"); }),
            "option 'rho' is a number, and is read as a whole number");
  EXPECT_EQ(options.number("every"), 10.0) << "a whole number is a number";
  EXPECT_EQ((ExtraOptions{{"rho", 1}}.with_defaults(declared, "sam").number("rho")), 1.0);
}

}  // namespace
}  // namespace espalier
