#include "espalier/graph/graph_json.h"

#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "espalier/config/json.h"
#include "espalier/graph/op.h"
#include "espalier/util/spelling.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

using Json = nlohmann::ordered_json;

Channels channels_from(const Json& json, const std::string& place) {
  const auto rule = json_field<std::string>(json, "rule", place);
  for (int i = Channels::unknown; i <= Channels::reduced; ++i)
    if (const auto one = static_cast<Channels::Rule>(i); rule == channels_rule_name(one))
      return {one, json_field<std::vector<int64_t>>(json, "values", place)};
  fail(json_place(place, "rule"), ": no rule '", printable(rule), "'");
}

/// `row` may be null.
Attribute attribute_from(const Json& json, const OpAttribute* row, const std::string& place) {
  if (json.is_string()) return json_value<std::string>(json, place);
  if (json.is_array()) return json_value<std::vector<int64_t>>(json, place);
  const bool real = row && std::holds_alternative<double>(row->otherwise);  // which may be written as 2
  if (!json.is_number_float() && !(real && json.is_number())) return json_value<int64_t>(json, place);
  const auto number = json_value<double>(json, place);
  ESP_CHECK(std::abs(number) <= std::numeric_limits<float>::max(), place, ": found ", json.dump(),
            ", which is too large for a float");
  return number;
}

/// Of {"x": 0, "weight": 1} the numbers in the order of the op's row.
std::vector<int> inputs_by_name(const Json& json, const Op& op, const std::string& place) {
  std::vector<std::string> known;
  for (const OpInput& input : op.inputs) known.emplace_back(input.name);
  for (const auto& [name, value] : json.items())
    ESP_CHECK(std::ranges::count(known, name) > 0, place, ": ", op.name, " has no input '", printable(name),
              "'", did_you_mean(name, known));
  std::vector<int> inputs;
  for (const OpInput& input : op.inputs) {
    const std::string name(input.name);
    if (!json.contains(name))
      inputs.push_back(GraphNode::absent);
    else if (input.kind == OpInput::variadic)
      std::ranges::copy(json_field<std::vector<int>>(json, name.c_str(), place), std::back_inserter(inputs));
    else
      inputs.push_back(json_field<int>(json, name.c_str(), place));
  }
  while (!inputs.empty() && inputs.back() == GraphNode::absent) inputs.pop_back();
  return inputs;
}

/// `row` may be null.
std::vector<int> inputs_from(const Json& json, const Op* row, const std::string& place) {
  const Json inputs = json_field<Json>(json, "inputs", place);
  if (row && inputs.is_object()) return inputs_by_name(inputs, *row, json_place(place, "inputs"));
  return json_field<std::vector<int>>(json, "inputs", place);
}

nlohmann::json inputs_of(const GraphNode& node) {
  const Op* op = find_op(node.op);
  if (!op) return node.inputs;
  nlohmann::json inputs = nlohmann::json::object();
  for (size_t i = 0; i < op->inputs.size() && i < node.inputs.size(); ++i) {
    const OpInput& input = op->inputs[i];
    if (input.kind == OpInput::variadic)
      inputs[input.name] =
          std::vector(node.inputs.begin() + static_cast<std::ptrdiff_t>(i), node.inputs.end());
    else if (node.inputs[i] != GraphNode::absent)
      inputs[input.name] = node.inputs[i];
  }
  return inputs;
}

/// The name of the one input or output of a network, which is `value`.
std::string end_from(const Json& json, const char* which, int value, const std::string& place) {
  const auto ends = json_field<std::vector<Json>>(json, which, place);
  const std::string at = json_place(place, which);
  ESP_CHECK(ends.size() == 1, at, ": found ", ends.size(), ", expected one");
  const int found = json_field<int>(ends[0], "value", json_place(at, "0"));
  ESP_CHECK(found == value, json_place(json_place(at, "0"), "value"), ": found ", found, ", expected ",
            value);
  return json_field<std::string>(ends[0], "name", json_place(at, "0"));
}

GraphNode node_from(const Json& json, const std::string& place) {
  GraphNode node;
  node.op = json_field<std::string>(json, "op", place);
  const Op* row = find_op(node.op);
  for (const auto& [name, value] : json_field<std::map<std::string, Json>>(json, "attributes", place))
    node.attributes.emplace_back(name, attribute_from(value, row ? row->attribute(name) : nullptr,
                                                      json_place(json_place(place, "attributes"), name)));
  node.inputs = inputs_from(json, row, place);
  node.output = json_field<int>(json, "output", place);
  node.channels = channels_from(json_field<Json>(json, "channels", place), json_place(place, "channels"));
  return node;
}

GraphValue value_from(const Json& json, const std::string& place) {
  const auto sizes = json_field<std::vector<int64_t>>(json, "shape", place);
  GraphValue value{Shape(std::span<const int64_t>(sizes)),
                   json.contains("parameter") ? json_field<std::string>(json, "parameter", place) : ""};
  // So that no product of two of them overflows.
  constexpr int64_t max_elements = int64_t{1} << 31;
  const int64_t elements = value.shape.elements();  // fails for one that no memory holds
  ESP_CHECK(elements > 0 && elements <= max_elements, json_place(place, "shape"), ": found ", value.shape,
            ", expected 1 to 2^31 numbers");
  return value;
}

/// Runs the op on nothing but shapes: Error where they do not fit it, or what it puts out is another than the
/// graph says.
void check_shapes(const OpCall& call) {
  if (!call.op.run) return;
  const NoGradient off;
  std::vector<Variable> inputs;
  for (const int input : call.node.inputs)
    inputs.push_back(input == GraphNode::absent
                         ? Variable()
                         : Variable(Tensor::empty(call.graph.shape(input), DType::f32, Device::meta)));
  const Shape found = call.op.run({call, inputs, false}).shape();
  ESP_CHECK(found == call.output(), call.op.name, ": puts out ", found, ", but value ", call.node.output,
            " is said to be ", call.output());
}

}  // namespace

nlohmann::json to_json(const Graph& graph) {
  using nlohmann::json;
  json values = json::array(), ops = json::array();
  for (const GraphValue& value : graph.values) {
    json row{{"shape", std::vector<int64_t>(value.shape.sizes().begin(), value.shape.sizes().end())}};
    if (!value.parameter.empty()) row["parameter"] = value.parameter;
    values.push_back(std::move(row));
  }
  for (const GraphNode& node : graph.nodes) {
    json attributes = json::object();
    for (const auto& [name, value] : node.attributes)
      std::visit([&, key = name](const auto& v) { attributes[key] = v; }, value);
    ops.push_back(
        {{"op", node.op},
         {"attributes", std::move(attributes)},
         {"inputs", inputs_of(node)},
         {"output", node.output},
         {"channels", {{"rule", channels_rule_name(node.channels.rule)}, {"values", node.channels.values}}}});
  }
  return {{"version", graph_version},
          {"inputs", {{{"name", graph.input_name}, {"value", 0}}}},
          {"outputs",
           {{{"name", graph.output_name}, {"value", graph.nodes.empty() ? 0 : graph.nodes.back().output}}}},
          {"values", std::move(values)},
          {"ops", std::move(ops)}};
}

Graph graph_from_json(const std::string& text, const std::string& place) {
  const Json json = parse_json(text, place);
  const int64_t version = json.contains("version") ? json_count(json, "version", place) : 1;
  ESP_CHECK(version >= 1 && version <= graph_version, json_place(place, "version"), ": found ", version,
            ", expected at most ", graph_version, version < 1 ? "" : ": it is a later Espalier's");
  Graph graph;
  for (const auto& value : json_field<std::vector<Json>>(json, "values", place))
    graph.values.push_back(
        value_from(value, json_place(json_place(place, "values"), std::to_string(graph.values.size()))));
  const Shape image = graph.values.empty() || graph.is_parameter(0) ? Shape{} : graph.shape(0);
  ESP_CHECK(image.axes() == 4 && image.elements() > 0, place, ": its first value is no image");

  // Every input is there before the op that reads it.
  std::set<int> known{0};
  const auto is_value = [&](int i) { return i >= 0 && static_cast<size_t>(i) < graph.values.size(); };
  for (int i = 0; is_value(i); ++i)
    if (graph.is_parameter(i)) known.insert(i);
  for (const auto& op : json_field<std::vector<Json>>(json, "ops", place)) {
    const std::string at = json_place(json_place(place, "ops"), std::to_string(graph.nodes.size()));
    GraphNode node = node_from(op, at);
    ESP_CHECK(!node.inputs.empty() && node.inputs[0] != GraphNode::absent, at, ": has no inputs");
    for (const int input : node.inputs)
      ESP_CHECK(input == GraphNode::absent || known.contains(input), json_place(at, "inputs"), ": value ",
                input, " does not exist there");
    ESP_CHECK(is_value(node.output) && known.insert(node.output).second, json_place(at, "output"), ": found ",
              node.output, ", expected a value that no op has put out");
    if (const Op* row = find_op(node.op)) {
      try {
        check_shapes(OpCall(graph, node, *row));
      } catch (const Error& error) {
        fail(at, ": ", error.what());
      }
    }
    graph.nodes.push_back(std::move(node));
  }
  ESP_CHECK(!graph.nodes.empty(), place, ": has no ops");
  const Shape& logits = graph.shape(graph.nodes.back().output);
  ESP_CHECK(logits.axes() == 2 && logits[0] == 1 && logits[1] > 0, place, ": puts out ", logits,
            ", expected a row of logits");
  if (version > 1) {
    graph.input_name = end_from(json, "inputs", 0, place);
    graph.output_name = end_from(json, "outputs", graph.nodes.back().output, place);
  }
  return graph;
}

}  // namespace espalier
