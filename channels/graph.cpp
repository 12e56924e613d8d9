#include "espalier/channels/graph.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "espalier/nn/network.h"

namespace espalier {
namespace {

/// Sets of numbers that grow together (union by the lower number, so that a set is known by its first).
class Sets {
 public:
  int32_t add(int64_t count) {
    const auto first = static_cast<int32_t>(parent_.size());
    parent_.resize(parent_.size() + static_cast<size_t>(count));
    std::iota(parent_.begin() + first, parent_.end(), first);
    return first;
  }
  int32_t find(int32_t i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  void join(int32_t a, int32_t b) {
    a = find(a), b = find(b);
    parent_[std::max(a, b)] = std::min(a, b);
  }
  int32_t size() const { return static_cast<int32_t>(parent_.size()); }

 private:
  std::vector<int32_t> parent_;
};

/// Channels in a row, as numbers of a Sets: of a value, or of an axis of a parameter.
struct Row {
  int32_t first = 0;
  int64_t count = 0;
  int32_t operator[](int64_t i) const { return first + static_cast<int32_t>(i); }
};

/// A parameter of the graph, with the channels along its axes.
struct Axes {
  Parameter* parameter = nullptr;
  int out = -1, in = -1;
  Row outputs, inputs;
};

/// Every channel of every value and of every parameter's axes, in sets that must be cut together.
class Coupling {
 public:
  Coupling(Module& model, const Graph& graph) : graph_(graph) {
    std::map<std::string, Axes> known;
    for (const auto& [name, layer] : model.layers())
      for (const ChannelAxes& axes : layer->channel_axes())
        for (const auto& parameter : layer->own_parameters())
          if (parameter->name == parameter_name(name, axes.parameter))
            known[parameter->name] = {parameter.get(), axes.out, axes.in, {}, {}};
    for (const GraphValue& value : graph.values) {
      Axes axes;
      Row row;
      if (value.parameter.empty()) {
        row = add(value.shape.axes() ? value.shape[-1] : 0);
      } else if (const auto found = known.find(value.parameter); found != known.end()) {
        axes = found->second;
        if (axes.out >= 0) axes.outputs = add(value.shape[axes.out]);
        if (axes.in >= 0) axes.inputs = axes.in == axes.out ? axes.outputs : add(value.shape[axes.in]);
      }
      rows_.push_back(row);
      parameters_.push_back(std::move(axes));
    }
    for (const GraphNode& node : graph.nodes) couple(node);
  }

  /// The set of a channel.
  int32_t set(int32_t channel) { return sets_.find(channel); }
  int32_t channels() const { return sets_.size(); }
  const Row& row(int value) const { return rows_[value]; }
  /// Null parameter for a value that is none.
  const Axes& parameter(int value) const { return parameters_[value]; }

 private:
  Row add(int64_t count) { return {sets_.add(count), count}; }

  void tie(const GraphNode& node, const Row& a, const Row& b) {
    ESP_CHECK(a.count == b.count, "graph: ", described(node), " couples ", a.count, " channels with ",
              b.count);
    for (int64_t i = 0; i < a.count; ++i) sets_.join(a[i], b[i]);
  }

  std::string described(const GraphNode& node) const {
    const std::string layer = graph_.layer_of(node);
    return layer.empty() ? "op '" + node.op + "'" : layer + " (" + node.op + ")";
  }

  void couple(const GraphNode& node) {
    const auto& [rule, values] = node.channels;
    const Row y = rows_[node.output];
    std::vector<Row> data;  // the inputs that are no parameters
    for (const int input : node.present())
      if (!graph_.is_parameter(input)) data.push_back(rows_[input]);
    switch (rule) {
      case Channels::kept:
      case Channels::tied:
        for (const Row& x : data) tie(node, x, y);
        break;
      case Channels::joined:
        for (size_t k = 0; k < data.size(); ++k) tie(node, data[k], {y[values[k]], data[k].count});
        break;
      case Channels::sliced:
        tie(node, {data.at(0)[values[0]], values[1]}, y);
        break;
      case Channels::flattened:
        for (int64_t pixel = 0; pixel < values[0]; ++pixel)
          tie(node, data.at(0), {y[pixel * data[0].count], data[0].count});
        break;
      case Channels::mixed:
        return couple_mixed(node, data.at(0), y, values.empty() ? 1 : values[0]);
      case Channels::whole:
      case Channels::reduced:
        return;
      case Channels::unknown:
        fail("graph: ", described(node),
             " has no channel rule: what structural pruning may cut there is unknown");
    }
    for (const int input : node.present())
      if (graph_.is_parameter(input)) tie(node, axes_of(node, input).outputs, y);
  }

  const Axes& axes_of(const GraphNode& node, int input) const {
    ESP_CHECK(parameters_[input].parameter && parameters_[input].out >= 0, "graph: ", described(node),
              " declares no channel axes for its parameter ", graph_.values[input].parameter);
    return parameters_[input];
  }

  /// Groups all lose as many channels, and the same of each; of a depthwise convolution a channel is a group.
  /// Which it is the layer says, that declares no input axis: one input a group is also what is left of a
  /// grouped convolution that was cut, and that keeps its groups; and one group of a depthwise one.
  void couple_mixed(const GraphNode& node, const Row& x, const Row& y, int64_t groups) {
    const int64_t in = x.count / groups, out = y.count / groups;
    bool depthwise = false;
    for (const int input : node.present()) {
      if (!graph_.is_parameter(input)) continue;
      const Axes& axes = axes_of(node, input);
      tie(node, axes.outputs, y);
      depthwise = depthwise || (axes.in < 0 && axes.parameter->role == Role::weight);
      if (axes.in < 0) continue;
      ESP_CHECK(axes.inputs.count == in, "graph: ", described(node), " reads ", in,
                " channels a group, its weight has ", axes.inputs.count);
      for (int64_t g = 0; g < groups; ++g) tie(node, axes.inputs, {x[g * in], in});
    }
    ESP_CHECK(!depthwise || in == 1, "graph: ", described(node), " reads ", in,
              " channels a group, its weight declares no input axis");
    for (int64_t g = 0; g < groups; ++g)
      for (int64_t i = 0; i < out; ++i) sets_.join(y[g * out + i], depthwise ? x[g] : y[i]);
  }

  const Graph& graph_;
  Sets sets_;
  std::vector<Row> rows_;         // of each value
  std::vector<Axes> parameters_;  // of each value
};

/// Turns sets of channels into groups: what shares a producer.
class Grouping {
 public:
  Grouping(Coupling& coupling, const Graph& graph)
      : coupling_(coupling), channel_of_(static_cast<size_t>(coupling.channels()), -1) {
    producers_.add(coupling.channels());
    produced_.resize(static_cast<size_t>(coupling.channels()));
    for (const GraphNode& node : graph.nodes) {
      if (node.channels.rule != Channels::mixed) continue;
      const Row& y = coupling.row(node.output);
      for (int64_t i = 0; i < y.count; ++i) {
        producers_.join(coupling.set(y[0]), coupling.set(y[i]));
        produced_[coupling.set(y[i])] = 1;
      }
    }
  }

  /// Adds an axis to each group that it has channels of.
  void add_member(Parameter* parameter, int axis, bool out, const Row& row) {
    std::map<int, GroupMember> members;
    for (int64_t i = 0; i < row.count; ++i) {
      const int32_t set = coupling_.set(row[i]);
      if (!produced_[set]) continue;
      const auto [place, fresh] = number_.try_emplace(producers_.find(set), static_cast<int>(groups.size()));
      if (fresh) groups.emplace_back();
      const int g = place->second;
      if (channel_of_[set] < 0) channel_of_[set] = static_cast<int32_t>(groups[g].channels++);
      auto& member = members[g];
      if (!member.parameter) member = {parameter, axis, out, std::vector<int32_t>(row.count, -1)};
      member.channel_of[i] = channel_of_[set];
    }
    for (auto& [g, member] : members) groups[g].members.push_back(std::move(member));
  }

  /// The groups that these channels are of.
  std::vector<int> groups_of(const Row& row) {
    std::set<int> found;
    for (int64_t i = 0; i < row.count; ++i)
      if (const auto place = number_.find(producers_.find(coupling_.set(row[i]))); place != number_.end())
        found.insert(place->second);
    return {found.begin(), found.end()};
  }

  std::vector<ChannelGroup> groups;

 private:
  Coupling& coupling_;
  Sets producers_;                   // sets of sets that some layer makes together
  std::vector<char> produced_;       // by set: some layer makes it
  std::map<int32_t, int> number_;    // of a group, by its set of sets
  std::vector<int32_t> channel_of_;  // by set, within its group
};

/// Why no channel of this value may be cut, or nothing.
std::string fixed_because(const Graph& graph, int value) {
  if (graph.is_parameter(value)) return "";
  bool made = false, read = false;
  for (const GraphNode& node : graph.nodes) {
    const bool makes = node.output == value, reads = std::ranges::count(node.inputs, value) > 0;
    if (node.channels.rule == Channels::whole && (makes || reads)) return "bound together by " + node.op;
    made = made || makes;
    read = read || reads;
  }
  return !made ? "the network's input" : !read ? networks_output : "";
}

/// True for the weight of a layer that makes channels, along its outputs.
bool makes(const GroupMember& member) { return member.out && member.parameter->role == Role::weight; }

/// Indices of each channel along a member's axis.
std::vector<int64_t> indices_of(const GroupMember& member, int64_t channels) {
  std::vector<int64_t> indices(static_cast<size_t>(channels));
  for (const int32_t channel : member.channel_of)
    if (channel >= 0) ++indices[static_cast<size_t>(channel)];
  return indices;
}

}  // namespace

std::vector<std::string> makers_of(const ChannelGroup& group) {
  std::vector<std::string> names;
  for (const GroupMember& member : group.members)
    if (makes(member)) names.emplace_back(layer_name(member.parameter->name));
  return names;
}

std::string maker_of(const ChannelGroup& group) { return makers_of(group).front(); }

std::vector<std::string> makers_of(const std::vector<ChannelGroup>& groups) {
  std::vector<std::string> makers;
  for (const ChannelGroup& group : groups)
    for (std::string& name : makers_of(group)) makers.push_back(std::move(name));
  return makers;
}

std::vector<Makers> side_by_side(const ChannelGroup& group) {
  std::vector<Makers> all;
  for (const GroupMember& member : group.members) {
    if (!makes(member)) continue;
    std::vector<int64_t> indices = indices_of(member, group.channels);
    Makers one;
    one.layers.emplace_back(layer_name(member.parameter->name));
    for (const int64_t count : indices) one.makes.push_back(count > 0);
    const auto same = std::ranges::find(all, one.makes, &Makers::makes);
    if (same != all.end()) {
      same->layers.push_back(std::move(one.layers.front()));
      continue;
    }
    std::erase(indices, 0);  // channels that only another layer makes
    one.channels = static_cast<int64_t>(indices.size());
    one.multiplicity = std::ranges::min(indices);
    all.push_back(std::move(one));
  }
  return all;
}

ChannelGraph channel_graph(Module& model, const Graph& graph) {
  Coupling coupling(model, graph);
  Grouping grouping(coupling, graph);
  std::set<int> seen;  // a shared layer is there several times
  for (const GraphNode& node : graph.nodes)
    for (const int input : node.present()) {
      const Axes& axes = coupling.parameter(input);
      if (!axes.parameter || !seen.insert(input).second) continue;
      if (axes.in >= 0 && axes.in != axes.out)
        grouping.add_member(axes.parameter, axes.in, false, axes.inputs);
      if (axes.out >= 0) grouping.add_member(axes.parameter, axes.out, true, axes.outputs);
    }
  ChannelGraph channels;
  for (int value = 0; value < static_cast<int>(graph.values.size()); ++value) {
    channels.groups_of_value.push_back(grouping.groups_of(coupling.row(value)));
    if (const std::string why = fixed_because(graph, value); !why.empty())
      for (const int g : channels.groups_of_value.back())
        if (std::string& fixed = grouping.groups[g].fixed; fixed != networks_output) fixed = why;
  }
  channels.groups = std::move(grouping.groups);
  for (ChannelGroup& group : channels.groups) group.multiplicity = side_by_side(group).front().multiplicity;
  return channels;
}

std::vector<std::string> output_layers(Module& model, const Shape& input) {
  const ChannelGraph channels = channel_graph(model, Network(model, input).graph);
  std::vector<std::string> layers;
  for (const ChannelGroup& group : channels.groups)
    if (group.fixed == networks_output)
      for (std::string& maker : makers_of(group)) layers.push_back(std::move(maker));
  return layers;
}

}  // namespace espalier
