#include "espalier/util/spelling.h"

#include <gtest/gtest.h>

#include "support/bad_input.h"

namespace espalier {
namespace {

const std::vector<std::string> known{"momentum", "nesterov", "weight_decay", "lr", "eps"};

TEST(Spelling, FindsWhatWasMeant) {
  EXPECT_EQ(nearest_spelling("momentun", known), "momentum") << "a wrong letter";
  EXPECT_EQ(nearest_spelling("momntum", known), "momentum") << "a missing letter";
  EXPECT_EQ(nearest_spelling("momenttum", known), "momentum") << "a letter too many";
  EXPECT_EQ(nearest_spelling("rl", known), "lr") << "two letters in the wrong order";
  EXPECT_EQ(nearest_spelling("weight", known), "weight_decay") << "a beginning";
  EXPECT_EQ(nearest_spelling("nesterov_momentum", {"nesterov"}), "nesterov") << "one too long";
}

TEST(Spelling, IsSilentWhereNothingIsNear) {
  EXPECT_EQ(nearest_spelling("gradient", known), "");
  EXPECT_EQ(nearest_spelling("xy", known), "");
  EXPECT_EQ(nearest_spelling("", known), "");
  EXPECT_EQ(nearest_spelling("lr", {}), "");
}

TEST(Spelling, LongAndForeignWordsAreNoBurden) {
  EXPECT_EQ(nearest_spelling(std::string(2'000'000, 'x'), known), "");
  EXPECT_LT(did_you_mean("lr", {"lr" + std::string(900'000, '\x1b')}).size(), 500u);
}

TEST(Spelling, AmongEquallyNearTheFirst) {
  EXPECT_EQ(nearest_spelling("conv3", {"conv1", "conv2"}), "conv1");
}

TEST(Spelling, EndsAMessage) {
  EXPECT_EQ(did_you_mean("epz", known), ", did you mean 'eps'?");
  EXPECT_EQ(did_you_mean("gradient", known), "");
}

TEST(Spelling, TellsTheNamesThatThereAre) {
  EXPECT_EQ(position_of_name("field", "lr", known), 3u);
  EXPECT_EQ(message_of<UsageError>([] {
              position_of_name("field", "epz", {"lr", "eps"});
            }),
            "field: found 'epz', expected one of lr, eps, did you mean 'eps'?");
  EXPECT_EQ(message_of<UsageError>([] { fail_no_type("field", "epz", known); }),
            "field: no type 'epz', did you mean 'eps'?");
}

}  // namespace
}  // namespace espalier
