#include "espalier/graph/op.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "espalier/graph/ops/activation_bias.h"
#include "espalier/graph/ops/families.h"
#include "espalier/util/spelling.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

std::deque<Op>& rows() {  // their addresses stay
  static std::deque<Op> all = [] {
    std::deque<Op> made;
    for (const auto& family :
         {ops::linear_rows, ops::conv_rows, ops::norm_rows, ops::activation_rows, ops::pool_rows,
          ops::shape_rows, ops::arithmetic_rows, ops::reduce_rows, ops::dropout_rows, ops::loss_rows,
          ops::layer_norm_rows, ops::attention_rows, ops::strided_rows})
      std::ranges::move(family(), std::back_inserter(made));
    return made;
  }();
  return all;
}

/// Error unless the node's inputs are as many as its row's.
void check_inputs(const GraphNode& node, const Op& op) {
  size_t min_inputs = 0;
  bool open = false;
  for (size_t i = 0; i < op.inputs.size(); ++i) {
    const OpInput& input = op.inputs[i];
    if (input.kind != OpInput::optional) min_inputs = i + 1;
    open = open || input.kind == OpInput::variadic;
    ESP_CHECK(
        input.kind == OpInput::optional || i >= node.inputs.size() || node.inputs[i] != GraphNode::absent,
        op.name, ": its input '", input.name, "' is left out");
  }
  ESP_CHECK(!open || std::ranges::count(node.inputs, GraphNode::absent) == 0, op.name,
            ": one of its inputs is left out");
  const size_t max_inputs = open ? node.inputs.size() : op.inputs.size();
  ESP_CHECK(node.inputs.size() >= min_inputs && node.inputs.size() <= max_inputs, op.name, ": has ",
            node.inputs.size(), " inputs, expected ", min_inputs,
            open || max_inputs > min_inputs ? " or more" : "");
}

bool is_of_its_kind(const Attribute& attribute, const OpAttribute& row) {
  const auto* list = std::get_if<std::vector<int64_t>>(&attribute);
  return attribute.index() == row.otherwise.index() ||
         (list && row.list != OpAttribute::none && list->size() == static_cast<size_t>(row.list));
}

/// Error unless the node's attributes are its row's, and all that are required there.
void check_attributes(const GraphNode& node, const Op& op) {
  std::vector<std::string> known;
  for (const OpAttribute& row : op.attributes) {
    known.emplace_back(row.name);
    const Attribute* found = node.attribute(row.name);
    ESP_CHECK(found ? is_of_its_kind(*found, row) : !row.is_required, op.name, ": has no attribute '",
              row.name, "' of its kind");
  }
  for (const auto& [name, value] : node.attributes)
    ESP_CHECK(std::ranges::count(known, name) > 0, op.name, ": no attribute '", printable(name), "'",
              did_you_mean(name, known));
}

}  // namespace

size_t Op::place(std::string_view input) const {
  const auto found = std::ranges::find(inputs, input, &OpInput::name);
  ESP_CHECK(found != inputs.end(), name, ": has no input '", input, "'");
  return static_cast<size_t>(found - inputs.begin());
}

const OpAttribute* Op::attribute(std::string_view wanted) const {
  const auto found = std::ranges::find(attributes, wanted, &OpAttribute::name);
  return found == attributes.end() ? nullptr : &*found;
}

OpCall::OpCall(const Graph& in, const GraphNode& at, const Op& row) : graph(in), node(at), op(row) {
  check_inputs(node, op);
  check_attributes(node, op);
}

int OpCall::input(std::string_view name) const {
  const size_t i = op.place(name);
  return i < node.inputs.size() ? node.inputs[i] : GraphNode::absent;
}

const Attribute& OpCall::find_attribute(std::string_view name) const {
  if (const Attribute* found = node.attribute(name)) return *found;
  const OpAttribute* row = op.attribute(name);
  ESP_CHECK(row, op.name, ": has no attribute '", name, "'");
  return row->otherwise;
}

ByAxis OpCall::by_axis(std::string_view name) const {
  const Attribute& found = find_attribute(name);
  if (const auto* both = std::get_if<int64_t>(&found)) return *both;
  const auto& list = std::get<std::vector<int64_t>>(found);
  return {list[0], list[1]};
}

Padding OpCall::by_side(std::string_view name) const {
  const Attribute& found = find_attribute(name);
  if (const auto* all = std::get_if<int64_t>(&found)) return *all;
  const auto& list = std::get<std::vector<int64_t>>(found);
  return {list[0], list[1], list[2], list[3]};
}

Activation OpCall::activation() const {
  return op.activation.empty() ? Activation::none
                               : ops::activation_named(attribute<std::string>(op.activation));
}

Variable OpArguments::operator()(std::string_view name) const {
  const size_t i = call.op.place(name);
  return i < values.size() ? values[i] : Variable();
}

const Constants& ConstantArguments::operator()(std::string_view name) const {
  static const Constants none;
  const size_t i = call.op.place(name);
  return i < values.size() ? values[i] : none;
}

std::vector<Variable> inputs_of(const GraphNode& node, const std::vector<Variable>& values) {
  std::vector<Variable> inputs;
  for (const int input : node.inputs)
    inputs.push_back(input == GraphNode::absent ? Variable() : values[static_cast<size_t>(input)]);
  return inputs;
}

Graph with_activations_apart(Graph graph) {
  std::vector<GraphNode> nodes;
  for (GraphNode& node : graph.nodes) {
    const Op* op = find_op(node.op);
    const bool ends_with_one = op && !op->activation.empty() && op->name != "activation";
    const auto own = ends_with_one ? std::ranges::find(node.attributes, op->activation,
                                                       &std::pair<std::string, Attribute>::first)
                                   : node.attributes.end();
    const Attribute none = std::string(ops::activation_name(Activation::none));
    if (own == node.attributes.end() || own->second == none) {
      nodes.push_back(std::move(node));
      continue;
    }
    GraphNode after{.op = "activation",
                    .attributes = {{"function", std::exchange(own->second, none)}},
                    .inputs = {static_cast<int>(graph.values.size())},
                    .output = node.output,
                    .channels = Channels::kept};
    graph.values.push_back({.shape = graph.shape(node.output), .parameter = {}});
    node.output = after.inputs.front();
    nodes.push_back(std::move(node));
    nodes.push_back(std::move(after));
  }
  graph.nodes = std::move(nodes);
  return graph;
}

const GraphNode* fused_behind(const Graph& graph, const GraphNode& node) {
  const Op* op = find_op(node.op);
  if (!op || op->fuses.empty() || OpCall(graph, node, *op).activation() != Activation::none) return nullptr;
  const GraphNode* reader = graph.only_reader_of(node.output);
  return reader && reader->op == op->fuses ? reader : nullptr;
}

const Op* find_op(std::string_view name) {
  const auto found = std::ranges::find(rows(), name, &Op::name);
  return found == rows().end() ? nullptr : &*found;
}

std::vector<const Op*> op_catalogue() {
  std::vector<const Op*> all;
  for (const Op& op : rows()) all.push_back(&op);
  return all;
}

void add_op(Op op) {
  ESP_CHECK(!find_op(op.name), "op '", op.name, "' is there already");
  rows().push_back(std::move(op));
}

}  // namespace espalier
