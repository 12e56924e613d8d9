#include "espalier/graph/graph_json.h"

#include <gtest/gtest.h>

#include "espalier/graph/ops.h"
#include "espalier/graph/trace.h"
#include "support/bad_input.h"

namespace espalier {
namespace {

TEST(GraphJson, IsWrittenAndReadAgain) {
  const Variable w(Tensor::zeros({20, 5, 5, 1}), true, "conv1.weight"),
      b(Tensor::zeros({20}), true, "conv1.bias");
  Trace trace;
  const Variable image(Tensor::zeros({1, 8, 8, 1}));
  ops::flatten(ops::max_pool2d(ops::conv2d(image, w, b, {}, Activation::relu), 2));
  const nlohmann::json json = to_json(trace.graph);
  ASSERT_EQ(json["ops"].size(), 3u);
  EXPECT_EQ(json["ops"][0],
            nlohmann::json::parse(R"({"op": "conv2d", "inputs": {"x": 0, "weight": 1, "bias": 2}, "output": 3,
      "attributes": {"stride": 1, "pad": 0, "groups": 1, "activation": "relu"},
      "channels": {"rule": "mixed", "values": [1]}})"));
  EXPECT_EQ(json["ops"][2]["channels"], nlohmann::json::parse(R"({"rule": "flattened", "values": [4]})"));
  EXPECT_EQ(json["version"], 2);
  EXPECT_EQ(json["inputs"], nlohmann::json::parse(R"([{"name": "images", "value": 0}])"));
  EXPECT_EQ(json["outputs"], nlohmann::json::parse(R"([{"name": "logits", "value": 5}])"));
  EXPECT_EQ(json["values"][0], nlohmann::json::parse(R"({"shape": [1, 8, 8, 1]})"));
  EXPECT_EQ(json["values"][1],
            nlohmann::json::parse(R"({"shape": [20, 5, 5, 1], "parameter": "conv1.weight"})"));
  EXPECT_EQ(to_json(graph_from_json(json.dump(), "f")), json);
}

TEST(GraphJson, InputsStandByTheirNames) {
  const Variable x(Tensor::zeros({1, 2, 2, 3})), w(Tensor::zeros({3}), true, "bn.weight"),
      b(Tensor::zeros({3}), true, "bn.bias"), m(Tensor::zeros({3}), false, "bn.running_mean"),
      v(Tensor::zeros({3}), false, "bn.running_var");
  Trace trace;
  const Variable y = ops::batch_norm(x, {w, b, m, v}, Activation::none, x);
  ops::flatten(ops::concat({y, x, y}));
  const nlohmann::json json = to_json(trace.graph);
  EXPECT_EQ(json["ops"][0]["inputs"]["residual"], 0);
  EXPECT_EQ(json["ops"][1]["inputs"], nlohmann::json::parse(R"({"parts": [5, 0, 5]})"));
  const Graph again = graph_from_json(json.dump(), "f");
  EXPECT_EQ(again.nodes[1].inputs, trace.graph.nodes[1].inputs);
  for (const auto& [from, to, message] :
       {std::tuple{"\"running_mean\":", "\"mean\":", "f: /ops/0/inputs: batch_norm has no input 'mean'"},
        {"\"residual\":0", "\"residual\":[0]", "/ops/0/inputs/residual: found a list"},
        {"\"residual\":0,", "", ""},
        {"\"running_mean\":3,", "", "/ops/0: batch_norm: its input 'running_mean' is left out"},
        {"\"parts\":[5,0,5]", "\"parts\":[5,-1,5]", "/ops/1: concat: one of its inputs is left out"},
        {"\"shape\":[3]", "\"shape\":[0]", "f: /values/1/shape: found [0], expected 1 to 2^31 numbers"},
        {"\"version\":2", "\"version\":3",
         "f: /version: found 3, expected at most 2: it is a later Espalier's"},
        {"\"name\":\"images\",\"value\":0", "\"name\":\"images\",\"value\":1",
         "f: /inputs/0/value: found 1, expected 0"},
        {"\"outputs\":[", "\"outputs\":[{\"name\":\"more\",\"value\":1},",
         "f: /outputs: found 2, expected one"}}) {
    std::string bad = json.dump();
    ASSERT_NE(bad.find(from), bad.npos) << from;
    bad.replace(bad.find(from), std::string(from).size(), to);
    if (*message)
      EXPECT_TRUE(contains(message_of([&] { graph_from_json(bad, "f"); }), message)) << message;
    else
      EXPECT_EQ(graph_from_json(bad, "f").nodes[0].inputs.size(), 5u);
  }
}

TEST(GraphJson, ShapesAreThoseThatOpsMake) {
  // 4 channels, twice depthwise: 4 to 4, then 4 to 8 by a multiplier of 2.
  const Variable image(Tensor::zeros({1, 4, 4, 4})), w(Tensor::zeros({4, 3, 3, 1}), true, "a.weight"),
      v(Tensor::zeros({8, 3, 3, 1}), true, "b.weight");
  Trace trace;
  const Variable y = ops::conv2d(image, w, {}, {.pad = 1, .groups = 4});
  ops::global_average_pool(ops::clip(ops::conv2d(y, v, {}, {.pad = 1, .groups = 4}), -1, 6));
  const nlohmann::json json = to_json(trace.graph);
  EXPECT_EQ(to_json(graph_from_json(json.dump(), "f")), json);
  const auto refusal = [&](const char* pointer, const nlohmann::json& value) {
    nlohmann::json bad = json;
    bad[nlohmann::json::json_pointer(pointer)] = value;
    return message_of([&] { graph_from_json(bad.dump(), "f"); });
  };
  EXPECT_EQ(refusal("/values/2/shape", {1, 4, 4, 8}),
            "f: /ops/0: conv2d: puts out [1, 4, 4, 4], but value 2 is said to be [1, 4, 4, 8]");
  EXPECT_TRUE(refusal("/ops/0/attributes/groups", 2).starts_with("f: /ops/0: conv2d: "));
  EXPECT_TRUE(
      refusal("/ops/1/attributes/groups", 8).starts_with("f: /ops/1: conv2d: 8 groups do not divide"));
  EXPECT_EQ(refusal("/ops/2/attributes/min", 7.5),
            "f: /ops/2: clip: the least, 7.5, is not at most the largest, 6");
  EXPECT_EQ(refusal("/ops/2/attributes/max", 1e39),
            "f: /ops/2/attributes/max: found 1e+39, which is too large for a float");
  nlohmann::json whole = json;
  whole["ops"][2]["attributes"]["min"] = 0;
  EXPECT_EQ(std::get<double>(*graph_from_json(whole.dump(), "f").nodes[2].attribute("min")), 0.0);
}

TEST(GraphJson, TextsThatDescribeNoneAreRefused) {
  const std::string good =
      R"({"values": [{"shape": [1, 2, 2, 1]}, {"shape": [1, 4]}],
          "ops": [{"op": "flatten", "attributes": {}, "inputs": [0], "output": 1,
                   "channels": {"rule": "flattened", "values": [4]}}]})";
  EXPECT_EQ(graph_from_json(good, "f").shape(1), (Shape{1, 4}));
  for (const auto& [from, to, message] :
       {std::tuple{R"("inputs": [0])", R"("inputs": [2])",
                   "f: its network cannot be read: /ops/0/inputs: value 2 does not exist there"},
        {R"("inputs": [0])", R"("inputs": [1])", "value 1 does not exist there"},
        {R"("output": 1)", R"("output": 0)", "expected a value that no op has put out"},
        {R"("output": 1)", R"("output": 9)", "expected a value that no op has put out"},
        {R"("flattened",)", R"("flat",)", "no rule 'flat'"},
        {R"([1, 2, 2, 1])", R"([1, 2])", "its first value is no image"},
        {R"([1, 4])", R"([4])", "/ops/0: flatten: puts out [1, 4], but value 1 is said to be [4]"},
        {R"([1, 4])", R"([1, 99999999999, 99999999999, 99999999999])", "too large"},
        {R"("op": "flatten")", R"("op": 3)", "expected text"},
        {R"("op": "flatten")", R"("op": "max_pool2d")",
         "/ops/0: max_pool2d: has no attribute 'window' of its kind"},
        {R"("attributes": {})", R"("attributes": {"p": 1})", "/ops/0: flatten: no attribute 'p'"},
        {R"("inputs": [0])", R"("inputs": [0, 0])", "/ops/0: flatten: has 2 inputs, expected 1"},
        {R"("inputs": [0])", R"("inputs": [-1])", "/ops/0: has no inputs"}}) {
    std::string bad = good;
    bad.replace(bad.find(from), std::string(from).size(), to);
    EXPECT_TRUE(
        contains(message_of([&] { graph_from_json(bad, "f: its network cannot be read"); }), message));
  }
}

}  // namespace
}  // namespace espalier
