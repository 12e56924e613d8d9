#include "espalier/channels/fold.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "espalier/graph/op.h"

namespace espalier {
namespace {

class Folding {
 public:
  /// Of the values, or of the state of that name, which stands in for them.
  Folding(Module& model, const Graph& graph, const ChannelGraph& channels, std::string stand_in = {})
      : graph_(graph), channels_(channels), stand_in_(std::move(stand_in)) {
    for (const GraphValue& value : graph.values)
      parameters_.push_back(value.parameter.empty() ? nullptr : model.find(value.parameter));
    folds_.assign(channels.groups.size(), 1);
    for (const GraphNode& node : graph.nodes) {
      if (passes_constants(node) || takes_constants(node)) continue;
      for (const int input : node.present())
        if (!parameters_[input])
          for (const int g : channels.groups_of_value[input]) folds_[g] = 0;
    }
  }

  const std::vector<char>& folds() const { return folds_; }

  void fold(const ChannelVerdicts& kept) {
    mark_what_goes(kept);
    constants_.assign(graph_.values.size(), {});
    for (const GraphNode& node : graph_.nodes) {
      if (takes_constants(node)) move(node);
      constants_[node.output] = constants_of(node);
    }
  }

 private:
  /// The value that stands in a node's place for a parameter of that role; absent where there is none.
  static int value_of(const GraphNode& node, std::initializer_list<Role> roles) {
    const Op& op = *find_op(node.op);
    for (size_t i = 0; i < std::min(op.inputs.size(), node.inputs.size()); ++i)
      for (const Role role : roles)
        if (op.inputs[i].role == role) return node.inputs[i];
    return GraphNode::absent;
  }
  /// What a channel's own numbers lie in: without them it is its shift.
  static int scale_of(const GraphNode& node) { return value_of(node, {Role::weight, Role::scale}); }
  static int shift_of(const GraphNode& node) { return value_of(node, {Role::bias, Role::shift}); }
  size_t readers(int value) const { return graph_.readers_of(value).size(); }

  /// Whether an op leaves constant channels constant.
  bool passes_constants(const GraphNode& node) const {
    const Op* op = find_op(node.op);
    if (!op || !op->constants || op->takes_constants) return false;
    return !op->keeps_constants || op->keeps_constants(OpCall(graph_, node, *op));
  }

  /// The running mean that takes what a layer without a bias cannot, of a norm that serves only this place;
  /// null if there is none, or if the layer's own activation stands between.
  Parameter* mean_behind(const GraphNode& layer) const {
    const GraphNode* next = graph_.only_reader_of(layer.output);
    if (!next || OpCall(graph_, layer, *find_op(layer.op)).activation() != Activation::none) return nullptr;
    const Op* norm = find_op(next->op);
    if (!norm || !norm->normalizes_batch) return nullptr;
    const int mean = OpCall(graph_, *next, *norm).input("running_mean");
    return readers(mean) == 1 ? parameters_[mean] : nullptr;
  }

  bool takes_constants(const GraphNode& node) const {
    const Op* op = find_op(node.op);
    if (!op || !op->takes_constants || !op->takes_constants(OpCall(graph_, node, *op))) return false;
    const int shift = shift_of(node);
    const bool biased = shift != GraphNode::absent;
    if (readers(scale_of(node)) > 1 || (biased && readers(shift) > 1))
      return false;  // what takes them serves several places
    return biased || mean_behind(node);
  }

  void mark_what_goes(const ChannelVerdicts& kept) {
    for (size_t g = 0; g < channels_.groups.size(); ++g)
      for (const GroupMember& member : channels_.groups[g].members) {
        if (!member.out || !folds_[g]) continue;
        std::vector<char>& goes = goes_[member.parameter];
        goes.resize(member.channel_of.size());
        for (size_t i = 0; i < goes.size(); ++i)
          if (member.channel_of[i] >= 0 && !kept[g][static_cast<size_t>(member.channel_of[i])]) goes[i] = 1;
      }
  }

  /// Without its weights or its norm's scale a channel that goes is its shift: the bias, the norm's beta, or
  /// 0.
  Constants shifts_of(const GraphNode& node) const {
    const int scale = scale_of(node), at = shift_of(node);
    if (scale == GraphNode::absent) return {};
    const auto goes = goes_.find(parameters_[scale]);
    if (goes == goes_.end()) return {};
    const Tensor shift = at != GraphNode::absent ? numbers_of(*parameters_[at]).to(Device::cpu) : Tensor();
    Constants constants(goes->second.size());
    for (size_t i = 0; i < constants.size(); ++i)
      if (goes->second[i]) constants[i] = shift.defined() ? shift.f32()[i] : 0.0f;
    return constants;
  }

  /// What an op says of its channels that go: only here is its activation applied, and only to them.
  Constants constants_of(const GraphNode& node) const {
    const Op* op = find_op(node.op);
    if (!op || !op->constants || (!op->takes_constants && !passes_constants(node))) return {};
    const OpCall call(graph_, node, *op);
    std::vector<Constants> inputs;
    for (const int input : node.inputs)
      inputs.push_back(input == GraphNode::absent ? Constants() : constants_[input]);
    const Constants shift = shifts_of(node);
    Constants constants = op->constants({call, inputs, shift});
    std::vector<float> said;
    for (const auto& constant : constants)
      if (constant) said.push_back(*constant);
    ESP_RUN(Device{}, activation_forward(said.data(), said.data(), call.activation(),
                                         static_cast<int64_t>(said.size())));
    auto next = said.begin();
    for (auto& constant : constants)
      if (constant) constant = *next++;
    return constants;
  }

  /// What is frozen has nothing that stands in for it: its value serves both.
  Tensor& numbers_of(Parameter& parameter) const {
    const auto found = stand_in_.empty() ? parameter.state.end() : parameter.state.find(stand_in_);
    return found == parameter.state.end() ? parameter.value() : found->second;
  }

  /// What the constants add to the layer's outputs, except those that go: theirs are just f(shift).
  /// Running means are of the values and of what stands in for them, and take what the values say.
  void move(const GraphNode& node) {
    const Constants& constants = constants_[node.inputs[0]];
    if (std::ranges::all_of(constants, [](const auto& k) { return k.value_or(0.0f) == 0.0f; })) return;
    const Tensor weight = numbers_of(*parameters_[scale_of(node)]).to(Device::cpu);
    const int64_t outputs = weight.shape()[0], row = weight.shape().row_elements(),
                  channels = static_cast<int64_t>(constants.size());
    const bool biased = shift_of(node) != GraphNode::absent;
    Parameter& mover = biased ? *parameters_[shift_of(node)] : *mean_behind(node);
    if (!stand_in_.empty() && !mover.state_of(stand_in_).defined()) return;  // the values have moved it
    const auto goes = goes_.find(parameters_[scale_of(node)]);
    Tensor& shift = numbers_of(mover);
    Tensor moved = shift.to(Device::cpu);
    for (int64_t o = 0; o < outputs; ++o) {
      if (goes != goes_.end() && goes->second[static_cast<size_t>(o)]) continue;
      double sum = 0;
      for (int64_t i = 0; i < row; ++i)
        sum += weight.f32()[o * row + i] * constants[i % channels].value_or(0.0f);
      moved.f32()[o] += static_cast<float>(biased ? sum : -sum);
    }
    if (biased && parameters_[shift_of(node)]->mask.defined()) {  // what is held at zero stays there
      const Tensor kept = parameters_[shift_of(node)]->mask.to(Device::cpu);
      for (int64_t o = 0; o < outputs; ++o)
        if (!kept.data<uint8_t>()[o]) moved.f32()[o] = 0.0f;
    }
    shift.copy_from(moved);
  }

  const Graph& graph_;
  const ChannelGraph& channels_;
  const std::string stand_in_;
  std::vector<Parameter*> parameters_;            // of each value, or null
  std::vector<char> folds_;                       // by group
  std::map<Parameter*, std::vector<char>> goes_;  // outputs that go, of groups that fold
  std::vector<Constants> constants_;              // of each value
};

}  // namespace

std::vector<char> groups_that_fold(Module& model, const Graph& graph, const ChannelGraph& channels) {
  return Folding(model, graph, channels).folds();
}

void fold_constants(Module& model, const Graph& graph, const ChannelGraph& channels,
                    const ChannelVerdicts& kept) {
  Folding(model, graph, channels).fold(kept);
  std::set<std::string, std::less<>> stand_ins;
  for (const Parameter* parameter : model.parameters())
    parameter->for_tensors([&](std::string_view name, const Tensor&) {
      if (use_of(name) == TensorUse::stand_in) stand_ins.emplace(name);
    });
  for (const std::string& name : stand_ins) Folding(model, graph, channels, name).fold(kept);
}

}  // namespace espalier
