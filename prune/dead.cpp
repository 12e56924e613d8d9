#include "espalier/prune/dead.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "espalier/channels/fold.h"
#include "espalier/channels/surgery.h"
#include "espalier/graph/op.h"
#include "espalier/graph/trace.h"
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
  Dead(Module& model, const Trace& trace, const ChannelGraph& channels)
      : model_(model), trace_(trace), graph_(trace.graph), channels_(channels) {
    for (const GraphNode& node : graph_.nodes) {
      const Op* op = find_op(node.op);
      if (!op || !op->normalizes_batch) continue;
      const GraphNode* maker = graph_.maker_of(node.inputs[0]);
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
      const auto size = static_cast<size_t>(group.channels);
      living.emplace_back(size, uint8_t{1});
      moves_.emplace_back(size, uint8_t{1});
      if (!group.fixed.empty()) continue;
      const bool says_what_it_says = folds[g] && follows_layers(group);
      const std::vector<char> unread = all_zero(group, false),
                              same = says_what_it_says ? all_zero(group, true) : silent(group);
      for (size_t c = 0; c < size; ++c) living[g][c] = !(unread[c] || same[c]);
      if (std::ranges::count(living[g], 1) == 0) living[g][0] = 1;
      for (size_t c = 0; c < size; ++c)
        if (says_what_it_says && same[c]) moves_[g][c] = living[g][c];
    }
    return living;
  }

  /// 0 for those that go and whose word has to be folded.
  const ChannelVerdicts& moves() const { return moves_; }

  /// In inference a norm makes beta + gamma (x - mean) / sqrt(variance + eps) of a channel x that is the same
  /// for every image: its bias, or 0. That becomes its beta, and its gamma 0, so that it is what folding
  /// takes it for (fold.h).
  void settle_norms() {
    for (size_t g = 0; g < channels_.groups.size(); ++g)
      for (const GroupMember& member : channels_.groups[g].members) {
        const auto found = norms_.find(member.parameter);
        if (!member.out || found == norms_.end() || !found->second.maker) continue;
        for (size_t i = 0; i < member.channel_of.size(); ++i)
          if (const int32_t channel = member.channel_of[i];
              channel >= 0 && !moves_[g][static_cast<size_t>(channel)])
            settle(found->second, i);
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

  /// Channels that nothing makes, of which what reads them reads zeros: what is the same for every image can
  /// be seen in one.
  std::vector<char> silent(const ChannelGroup& group) const {
    std::vector<char> zero = all_zero(group, true);
    for (const GroupMember& member : group.members) {
      if (member.out || member.parameter->role != Role::weight) continue;
      for (const GraphNode& node : graph_.nodes) {
        if (node.channels.rule != Channels::mixed || node.inputs.size() < 2 ||
            graph_.values[static_cast<size_t>(node.inputs[1])].parameter != member.parameter->name)
          continue;
        const Tensor& x = trace_.tensor(node.inputs[0]);
        const bool by_channel = x.shape()[-1] == std::ssize(member.channel_of);  // else it is read in groups
        const std::vector<char> zeros = by_channel ? zeros_along(x.to(Device::cpu), x.shape().axes() - 1)
                                                   : std::vector<char>(member.channel_of.size(), 0);
        for (size_t i = 0; i < zeros.size(); ++i)
          if (member.channel_of[i] >= 0 && !zeros[i]) zero[static_cast<size_t>(member.channel_of[i])] = 0;
      }
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
  const Trace& trace_;
  const Graph& graph_;
  const ChannelGraph& channels_;
  std::map<const Parameter*, Norm> norms_;  // by their scale
  ChannelVerdicts moves_;
};

NetworkCost cost_of(const Network& network) {
  return {network.totals.macs, network.totals.parameters, network.totals.bytes};
}

/// One time over; false if nothing is dead.
bool remove_once(Module& model, const Shape& input, std::map<std::string, int64_t>& gone) {
  Trace trace;
  {
    const InMode inference(model, false);
    const NoGradient off;
    model.forward(Variable(
        Tensor::zeros({1, input[0], input[1], input[2]}, DType::f32, device_of(model.parameters()))));
  }
  trace.close();
  const ChannelGraph channels = channel_graph(model, trace.graph);
  Dead dead(model, trace, channels);
  const ChannelVerdicts living = dead.living();
  const std::vector<AxisCut> cuts = cuts_of(channels.groups, living);
  if (cuts.empty()) return false;
  for (size_t g = 0; g < living.size(); ++g)
    gone[maker_of(channels.groups[g])] += std::ranges::count(living[g], 0) * channels.groups[g].multiplicity;
  dead.settle_norms();
  fold_constants(model, trace.graph, channels, dead.moves());
  cut(model, cuts);
  return true;
}

}  // namespace

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
