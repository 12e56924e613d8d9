#include "espalier/onnx/node.h"

#include <gtest/gtest.h>

#include "onnx/onnx_builder.h"
#include "support/bad_input.h"

namespace espalier {
namespace {

TEST(OnnxNode, SaysItsInputsAndAttributes) {
  OnnxBuilder builder({1});
  const OnnxNode node(builder.node("Clip", {"x", "", "high"}, "y",
                                   {{"axis", int64_t{-1}},
                                    {"alpha", 0.5f},
                                    {"mode", std::string("edge")},
                                    {"pads", std::vector<int64_t>{1, 2}}}));
  EXPECT_EQ(node.input(0), "x");
  EXPECT_FALSE(node.has(1));
  EXPECT_TRUE(node.has(2));
  EXPECT_FALSE(node.has(3));
  EXPECT_EQ(node.output(), "y");
  EXPECT_EQ(node.whole("axis"), -1);
  EXPECT_EQ(node.real("alpha"), 0.5f);
  EXPECT_EQ(node.text("mode"), "edge");
  EXPECT_EQ(node.list("pads"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(node.whole("gone"), std::nullopt);
  EXPECT_EQ(node.tensor("gone"), nullptr);
  EXPECT_EQ(message_of([&] { static_cast<void>(node.real("axis")); }),
            "its attribute 'axis' is of type 2, expected 1");
}

TEST(OnnxNode, IsNamedByItsNameOrByWhatItPutsOut) {
  EXPECT_EQ(OnnxNode("Conv", "/c\n", {}, "y").str(), "Conv '/c\\n'");
  EXPECT_EQ(OnnxNode("Conv", "", {}, "y").str(), "Conv that puts out 'y'");
}

TEST(OnnxNode, OnlyWhatAnOutputNeedsIsKept) {
  const std::vector<OnnxNode> nodes{{"A", "a", {"x"}, "1"},
                                    {"B", "dead", {"1"}, "2"},
                                    {"C", "c", {"1", "1"}, "3"},
                                    {"D", "after", {"3"}, "4"}};
  std::string kept;
  for (const OnnxNode& node : needed_for("3", nodes)) kept += node.name;
  EXPECT_EQ(kept, "ac");
  EXPECT_TRUE(needed_for("x", nodes).empty());
}

}  // namespace
}  // namespace espalier
