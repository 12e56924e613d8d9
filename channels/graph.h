// Pruning as a book, step 1, graph: which channels must be cut together. Read off the graph of one example
// pass by two rules:
//   - a producer's outputs are its consumer's inputs: to drop output 3 of a convolution is to drop input 3 of
//     whatever reads it;
//   - an op that keeps or ties channels couples its sides: what a residual sum adds up lives and dies
//     together.
// No layer is known by its type: ops say what they do to channels (autograd/variable.h, Channels), layers
// which axis of a parameter counts which (nn/module.h, ChannelAxes).
//
// A worked example, 4 channels: y = fc(a(x) + b(relu(a(x)))), with convolutions a and b. Channel c of a's
// output, of relu's, of b's input, of b's output, of the sum and of fc's input are one and the same: cutting
// it takes row c of a's weight and bias, column c and row c of b's weight, row c of b's bias and column c of
// fc's weight. That is one group of 4 channels: a, b | b, fc. fc's outputs are the network's, and stay.
// Without the sum, a | b and b | fc would be two groups.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "espalier/nn/module.h"

namespace espalier {

/// Why the channels stay that the network puts out.
inline constexpr const char* networks_output = "the network's output";

/// One axis of a parameter that loses an index, or several, with each channel of a group.
struct GroupMember {
  Parameter* parameter = nullptr;
  int axis = 0;
  bool out = true;  ///< the axis counts its layer's outputs; else its inputs
  /// For each index along the axis the channel of the group it belongs to; -1: another group's, or fixed.
  std::vector<int32_t> channel_of;
};

/// Channels that are ranked and cut as one list. A channel may stand for several indices: of the columns of a
/// linear layer after a flatten, of all groups of a grouped convolution, of both halves of what is
/// concatenated with itself.
struct ChannelGroup {
  int64_t channels = 0;
  std::vector<GroupMember>
      members;        ///< in the order of its ops: the first is the first layer's that makes them
  std::string fixed;  ///< why it cannot be cut: networks_output or "the network's input"; empty if it can
  /// Real channels, outputs of the first layer that makes them, that each stands for: 1, but as many as a
  /// grouped convolution has groups, whose 32 x 4 outputs are 4 channels of 32. Where channels differ in it,
  /// as where slices that overlap are added, the smallest.
  int64_t multiplicity = 1;
};

/// [groups][channels], 1 if it stays.
using ChannelVerdicts = std::vector<std::vector<uint8_t>>;

/// The layers that make a group's channels, in the order of its ops; the first is what a group is known by.
std::vector<std::string> makers_of(const ChannelGroup& group);
std::string maker_of(const ChannelGroup& group);
/// Those of all groups.
std::vector<std::string> makers_of(const std::vector<ChannelGroup>& groups);

/// Layers that make the same of a group's channels: all, but some where layers stand side by side, as those
/// of a concatenation that a depthwise convolution reads, which makes a group of them.
struct Makers {
  std::vector<std::string> layers;
  std::vector<char> makes;   ///< for each channel of the group 1 if they make it
  int64_t channels = 0;      ///< how many they are
  int64_t multiplicity = 1;  ///< ChannelGroup::multiplicity, by the first of these layers

  bool all() const { return channels == static_cast<int64_t>(makes.size()); }
};
std::vector<Makers> side_by_side(const ChannelGroup& group);

struct ChannelGraph {
  std::vector<ChannelGroup> groups;               ///< by the place of their first layer
  std::vector<std::vector<int>> groups_of_value;  ///< of each value of the graph; none for what no layer made
};

/// The channels of the network that `graph` is. Error for an op without a channel rule, or a parameter whose
/// layer declares no axes for it, by name.
ChannelGraph channel_graph(Module& model, const Graph& graph);

/// The layers that make the network's output, only a classifier's last; images are `input` [H,W,C]. Error as
/// channel_graph.
std::vector<std::string> output_layers(Module& model, const Shape& input);

}  // namespace espalier
