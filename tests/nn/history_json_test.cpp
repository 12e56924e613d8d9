#include "espalier/nn/history_json.h"

#include <gtest/gtest.h>

#include "espalier/util/error.h"
#include "support/bad_input.h"

namespace espalier {
namespace {

const std::vector<AxisCut> history = {{"a.weight", 0, 4, {0, 3}},
                                      {"a.bias", 0, 4, {0, 3}},
                                      {"b.weight", 1, 4, {0, 3}},
                                      {"b.weight", 0, 4, {1}}};

TEST(HistoryJson, KeepsTogetherWhatKeepsTheSame) {
  EXPECT_EQ(history_json(history).dump(),
            R"([{"before":4,"kept":[0,3],"axes":[["a.weight",0],["a.bias",0],["b.weight",1]]},)"
            R"({"before":4,"kept":[1],"axes":[["b.weight",0]]}])");
  EXPECT_EQ(history_json({}).dump(), "[]");
}

TEST(HistoryJson, IsReadBack) {
  EXPECT_EQ(history_from(history_json(history).dump(), "x"), history);
  EXPECT_TRUE(history_from(history_json({}).dump(), "x").empty());
}

TEST(HistoryJson, AnythingElseIsNamedWithItsFile) {
  for (const char* text : {R"([{"before":4,"kept":[0]}])", R"([{"before":"4","kept":[0],"axes":[["a",0]]}])",
                           R"([{"before":4,"kept":0,"axes":[["a",0]]}])",
                           R"([{"before":4,"kept":[0],"axes":[["a"]]}])", "[3]"}) {
    SCOPED_TRACE(text);
    const std::string message = message_of([&] { history_from(text, "a.safetensors"); });
    EXPECT_TRUE(message.starts_with("a.safetensors: its history of cuts cannot be read: ")) << message;
  }
}

}  // namespace
}  // namespace espalier
