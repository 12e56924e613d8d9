#include "espalier/config/lost_quotes.h"

#include <gtest/gtest.h>

namespace espalier {
namespace {

TEST(LostQuotes, ArePutBackWhereJsonNeedsThem) {
  EXPECT_EQ(with_quotes("{mean:[0.5],std:[0.2]}"), R"({"mean":[0.5],"std":[0.2]})");
  EXPECT_EQ(with_quotes("[{type: crop , pad:2},{type:flip}]"),
            R"([{"type": "crop" , "pad":2},{"type":"flip"}])");
  EXPECT_EQ(with_quotes(R"({"a b":true,c:null,1:"x:y",d:"\"}"})"),
            R"({"a b":true,"c":null,"1":"x:y","d":"\"}"})");
  EXPECT_EQ(with_quotes("[layer1.*, fc]"), R"(["layer1.*", "fc"])");
  for (const char* none : {"{mean:[0.5]", "{a:b:c}", "{\"a", "", "\xff", "{:}"})
    EXPECT_EQ(with_quotes(none), std::nullopt) << none;
}

TEST(LostQuotes, AreSaidAsOneOption) {
  EXPECT_EQ(lost_quotes("a.b", {"{c:[1]}"}), R"(--set 'a.b={"c":[1]}')");
  EXPECT_EQ(lost_quotes("a", {"b:1", "c:[x,y]"}), R"(--set 'a={"b":1,"c":["x","y"]}')");
  EXPECT_EQ(lost_quotes("a", {"one", "two"}), std::nullopt);
}

TEST(LostQuotes, AreFoundOnACommandLine) {
  EXPECT_EQ(lost_quotes_in({"x.json", "--set", "a=b:1", "a=c:2"}, "a=c:2"), R"(--set 'a={"b":1,"c":2}')");
  EXPECT_EQ(lost_quotes_in({"--set=a=b:1", "--set=a=c:2", "x.json"}, "x.json"), std::nullopt);
  EXPECT_EQ(lost_quotes_in({"x.json", "--set", "a=b:1", "d=c:2"}, "d=c:2"), std::nullopt);
}

}  // namespace
}  // namespace espalier
