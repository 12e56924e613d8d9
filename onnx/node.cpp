#include "espalier/onnx/node.h"

#include <algorithm>
#include <set>
#include <utility>

#include "espalier/util/error.h"
#include "espalier/util/utf8.h"

namespace espalier {

using onnx::AttributeProto;

OnnxNode::OnnxNode(const onnx::NodeProto& proto)
    : op(proto.op_type()),
      name(proto.name()),
      inputs(proto.input().begin(), proto.input().end()),
      outputs(proto.output().begin(), proto.output().end()) {
  ESP_CHECK(!outputs.empty() && !outputs.front().empty(), str(), ": puts out nothing");
  for (const AttributeProto& attribute : proto.attribute()) attributes[attribute.name()] = &attribute;
}

OnnxNode::OnnxNode(std::string its_op, std::string its_name, std::vector<std::string> its_inputs,
                   std::string output)
    : op(std::move(its_op)),
      name(std::move(its_name)),
      inputs(std::move(its_inputs)),
      outputs{std::move(output)} {}

const std::string& OnnxNode::input(size_t i) const {
  static const std::string none;
  return i < inputs.size() ? inputs[i] : none;
}

const AttributeProto* OnnxNode::find(const std::string& attribute, int type) const {
  const auto found = attributes.find(attribute);
  if (found == attributes.end()) return nullptr;
  ESP_CHECK(found->second->type() == type, "its attribute '", attribute, "' is of type ",
            found->second->type(), ", expected ", type);
  return found->second;
}

std::optional<int64_t> OnnxNode::whole(const std::string& attribute) const {
  const AttributeProto* found = find(attribute, AttributeProto::INT);
  return found ? std::optional(found->i()) : std::nullopt;
}

std::optional<float> OnnxNode::real(const std::string& attribute) const {
  const AttributeProto* found = find(attribute, AttributeProto::FLOAT);
  return found ? std::optional(found->f()) : std::nullopt;
}

std::optional<std::string> OnnxNode::text(const std::string& attribute) const {
  const AttributeProto* found = find(attribute, AttributeProto::STRING);
  return found ? std::optional(found->s()) : std::nullopt;
}

std::optional<std::vector<int64_t>> OnnxNode::list(const std::string& attribute) const {
  const AttributeProto* found = find(attribute, AttributeProto::INTS);
  if (!found) return std::nullopt;
  return std::vector<int64_t>(found->ints().begin(), found->ints().end());
}

const onnx::TensorProto* OnnxNode::tensor(const std::string& attribute) const {
  const AttributeProto* found = find(attribute, AttributeProto::TENSOR);
  return found ? &found->t() : nullptr;
}

std::string OnnxNode::str() const {
  std::string text = printable(op);
  if (!name.empty())
    text += " '" + printable(name) + "'";
  else if (!outputs.empty())
    text += " that puts out '" + printable(outputs.front()) + "'";
  return text;
}

std::vector<OnnxNode> needed_for(const std::string& output, std::vector<OnnxNode> nodes) {
  std::set<std::string> needed{output};
  std::vector<OnnxNode> kept;
  for (size_t i = nodes.size(); i-- > 0;) {
    if (std::ranges::none_of(nodes[i].outputs, [&](const auto& name) { return needed.contains(name); }))
      continue;
    needed.insert(nodes[i].inputs.begin(), nodes[i].inputs.end());
    kept.push_back(std::move(nodes[i]));
  }
  std::ranges::reverse(kept);
  return kept;
}

}  // namespace espalier
