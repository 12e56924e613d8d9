#include "espalier/prune/dead.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "espalier/channels/fold.h"
#include "espalier/channels/surgery.h"
#include "espalier/graph/op.h"
#include "espalier/nn/network.h"

namespace espalier {
namespace {

/// Whether all numbers at index `i` of an axis are 0, for each i. Of numbers on the CPU.
std::vector<char> zeros_along(const Tensor& x, int axis) {
  const Shape& shape = x.shape();
  int64_t inner = 1;
  for (int i = axis + 1; i < shape.axes(); ++i) inner *= shape[i];
  const int64_t size = shape[axis], all = x.elements();
  std::vector<char> zeros(static_cast<size_t>(size), 1);
  const float* numbers = x.f32();
  for (int64_t i = 0; i < all; ++i)
    if (numbers[i] != 0.0f) zeros[static_cast<size_t>(i / inner % size)] = 0;
  return zeros;
}

/// For each channel of a group whether all weights on that side of it are zero; of a side without weights
/// none are.
std::vector<char> all_zero(const ChannelGroup& group, bool out) {
  std::vector<char> zero(static_cast<size_t>(group.channels), 1), met(zero.size(), 0);
  for (const GroupMember& member : group.members) {
    if (member.out != out || member.parameter->role != Role::weight) continue;
    const std::vector<char> zeros = zeros_along(member.parameter->value().to(Device::cpu), member.axis);
    for (size_t i = 0; i < zeros.size(); ++i) {
      if (member.channel_of[i] < 0) continue;
      const auto channel = static_cast<size_t>(member.channel_of[i]);
      met[channel] = 1;
      zero[channel] = zero[channel] && zeros[i];
    }
  }
  for (size_t c = 0; c < zero.size(); ++c) zero[c] = zero[c] && met[c];
  return zero;
}

/// A batch norm, and the layer whose output it reads; null where it reads something else.
struct Norm {
  const GraphNode* node;
  const GraphNode* maker;
};

class Dead {
 public:
  Dead(Module& model, const Graph& graph, const ChannelGraph& channels)
      : model_(model), graph_(graph), channels_(channels) {
    for (const GraphNode& node : graph.nodes) {
      const Op* op = find_op(node.op);
      if (!op || !op->normalizes_batch) continue;
      const GraphNode* maker = graph.maker_of(node.inputs[0]);
      const bool is_layer =
          maker && maker->channels.rule == Channels::mixed && activation_of(*maker) == Activation::none;
      norms_[parameter(node, "weight")] = {&node, is_layer ? maker : nullptr};
    }
  }

  ChannelVerdicts living() {
    const std::vector<char> folds = groups_that_fold(model_, graph_, channels_);
    ChannelVerdicts living;
    for (size_t g = 0; g < channels_.groups.size(); ++g) {
      const ChannelGroup& group = channels_.groups[g];
      living.emplace_back(static_cast<size_t>(group.channels), uint8_t{1});
      if (!group.fixed.empty()) continue;
      const std::vector<char> unread = all_zero(group, false), unmade = all_zero(group, true);
      const std::vector<char> goes = folds[g] && follows_layers(group) ? unmade : silent(g);
      for (size_t c = 0; c < unread.size(); ++c) living[g][c] = !(unread[c] || goes[c]);
      if (std::ranges::count(living[g], 1) == 0) living[g][0] = 1;
    }
    return living;
  }

  /// In inference a norm makes beta + gamma (x - mean) / sqrt(variance + eps) of a channel x that is the same
  /// for every image: its bias, or 0. That becomes its beta, and its gamma 0, so that it is what folding
  /// takes it for (fold.h).
  void settle_norms(const ChannelVerdicts& living) {
    for (size_t g = 0; g < channels_.groups.size(); ++g)
      for (const GroupMember& member : channels_.groups[g].members) {
        const auto found = norms_.find(member.parameter);
        if (!member.out || found == norms_.end() || !found->second.maker) continue;
        const std::vector<char> unmade = all_zero(channels_.groups[g], true);
        for (size_t i = 0; i < member.channel_of.size(); ++i) {
          const int32_t channel = member.channel_of[i];
          if (channel >= 0 && unmade[static_cast<size_t>(channel)] &&
              !living[g][static_cast<size_t>(channel)])
            settle(found->second, i);
        }
      }
  }

 private:
  Activation activation_of(const GraphNode& node) const {
    const Op* op = find_op(node.op);
    return op ? OpCall(graph_, node, *op).activation() : Activation::none;
  }
  Parameter* parameter(const GraphNode& node, std::string_view input) const {
    const int value = OpCall(graph_, node, *find_op(node.op)).input(input);
    return value == GraphNode::absent ? nullptr
                                      : model_.find(graph_.values[static_cast<size_t>(value)].parameter);
  }

  bool follows_layers(const ChannelGroup& group) const {
    return std::ranges::all_of(group.members, [&](const GroupMember& member) {
      const auto found = norms_.find(member.parameter);
      if (!member.out || found == norms_.end()) return true;
      return found->second.maker && graph_.readers_of(found->second.node->inputs[1]).size() == 1;
    });
  }

  /// Whether what comes after layers keeps a channel of zeros one.
  bool keeps_zeros(size_t g) const {
    return std::ranges::all_of(graph_.nodes, [&](const GraphNode& node) {
      const auto& groups = channels_.groups_of_value[static_cast<size_t>(node.output)];
      if (std::ranges::count(groups, static_cast<int>(g)) == 0) return true;
      const Activation f = activation_of(node);
      if (f == Activation::sigmoid || f == Activation::hard_sigmoid) return false;
      const Op* op = find_op(node.op);
      return op &&
             (node.op == "activation" || (op->homogeneous && op->homogeneous(OpCall(graph_, node, *op))));
    });
  }

  /// Where nothing folds: channels of which all numbers that make them are zero, biases and norms, too, so
  /// that they say 0.
  std::vector<char> silent(size_t g) const {
    const ChannelGroup& group = channels_.groups[g];
    std::vector<char> zero = all_zero(group, true);
    if (!keeps_zeros(g)) return std::vector<char>(zero.size(), 0);
    for (const GroupMember& member : group.members) {
      if (!member.out || !member.parameter->learned()) continue;
      const std::vector<char> zeros = zeros_along(member.parameter->value().to(Device::cpu), member.axis);
      for (size_t i = 0; i < zeros.size(); ++i)
        if (member.channel_of[i] >= 0 && !zeros[i]) zero[static_cast<size_t>(member.channel_of[i])] = 0;
    }
    return zero;
  }

  void settle(const Norm& norm, size_t i) {
    const Parameter* bias = find_op(norm.maker->op) ? parameter(*norm.maker, "bias") : nullptr;
    const auto at = [&](const char* name) {
      return double{parameter(*norm.node, name)->value().to(Device::cpu).f32()[i]};
    };
    const double x = bias ? double{bias->value().to(Device::cpu).f32()[i]} : 0.0,
                 eps = OpCall(graph_, *norm.node, *find_op(norm.node->op)).real("eps");
    const double said =
        at("bias") + at("weight") * (x - at("running_mean")) / std::sqrt(at("running_var") + eps);
    set(*parameter(*norm.node, "bias"), i, static_cast<float>(said));
    set(*parameter(*norm.node, "weight"), i, 0.0f);
  }
  static void set(Parameter& parameter, size_t i, float value) {
    Tensor numbers = parameter.value().to(Device::cpu);
    numbers.f32()[i] = value;
    parameter.value().copy_from(numbers);
  }

  Module& model_;
  const Graph& graph_;
  const ChannelGraph& channels_;
  std::map<const Parameter*, Norm> norms_;  // by their scale
};

NetworkCost cost_of(const Network& network) {
  return {network.totals.macs, network.totals.parameters, network.totals.bytes};
}

/// One time over; false if nothing is dead.
bool remove_once(Module& model, const Shape& input, std::map<std::string, int64_t>& gone) {
  const Graph graph = Network(model, input).graph;
  const ChannelGraph channels = channel_graph(model, graph);
  Dead dead(model, graph, channels);
  const ChannelVerdicts living = dead.living();
  const std::vector<AxisCut> cuts = cuts_of(channels.groups, living);
  if (cuts.empty()) return false;
  for (size_t g = 0; g < living.size(); ++g)
    gone[maker_of(channels.groups[g])] += std::ranges::count(living[g], 0) * channels.groups[g].multiplicity;
  dead.settle_norms(living);
  fold_constants(model, graph, channels, living);
  cut(model, cuts);
  return true;
}

}  // namespace

ChannelVerdicts living_channels(Module& model, const Graph& graph, const ChannelGraph& channels) {
  return Dead(model, graph, channels).living();
}

PruneResult remove_dead(Module& model, const Shape& input, const Tensor& verify) {
  Transaction transaction(model);
  const std::vector<AxisCut> history = model.history;
  PruneResult result;
  const Network before(model, input);
  result.before = cost_of(before);
  for (const ChannelGroup& group : channel_graph(model, before.graph).groups)
    if (group.fixed.empty())
      result.layers.push_back({maker_of(group), group.channels * group.multiplicity, 0, 0});
  std::optional<Proof> proof;
  if (verify.defined()) proof.emplace(model, verify);
  std::map<std::string, int64_t> gone;
  while (remove_once(model, input, gone)) {
  }
  for (PruneResult::Layer& layer : result.layers) layer.pruned = gone[layer.name];
  result.after = cost_of(Network(model, input));
  result.cuts = cuts_between(history, model.history);
  if (proof) result.proof = proof->end();
  transaction.commit();
  return result;
}

}  // namespace espalier
