#include "espalier/prune/unit.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <numeric>

#include "espalier/nn/names.h"
#include "espalier/util/spelling.h"

namespace espalier {
namespace {

/// A member whose axes are the parameter's up to one axis, that axis, and the rest.
UnitMember member_along(const GroupMember& from, int64_t channels) {
  const Shape& shape = from.parameter->shape();
  UnitMember member{.parameter = from.parameter, .out = from.out};
  auto& [outer, axis, inner] = member.axes;
  for (int i = 0; i < from.axis; ++i) outer.size *= shape[i];
  for (int i = from.axis + 1; i < shape.axes(); ++i) inner.size *= shape[i];
  axis = {shape[from.axis], channels, from.channel_of};
  return member;
}

UnitAxis in_steps(int64_t size, int64_t step) {
  UnitAxis axis{size, (size + step - 1) / step};
  for (int64_t i = 0; i < size; ++i) axis.part_of.push_back(static_cast<int32_t>(i / step));
  return axis;
}

UnitAxis each(int64_t size) { return {size, size}; }
UnitAxis all(int64_t size) { return {size, 1}; }

/// The axes of a weight [O,..,I] for that unit.
std::array<UnitAxis, 3> axes_of(const Unit& unit, const Parameter& weight) {
  const Shape& shape = weight.shape();
  const int64_t outputs = shape[0], inputs = shape[shape.axes() - 1], row = shape.row_elements();
  switch (unit.kind) {
    case Unit::n_of_m:
      ESP_CHECK(unit.pad || inputs % unit.m == 0, "prune: ", weight.name, " has ", inputs,
                " inputs, which is no multiple of ", unit.m, " (", unit.n, ":", unit.m,
                "): exclude the layer, take another m, or \"pad\": true");
      return {each(shape.elements())};
    case Unit::weight:
      return {each(shape.elements())};
    case Unit::filter:
      return {each(outputs), all(1), all(row)};
    case Unit::column:
      return {all(shape.elements() / inputs), each(inputs)};
    case Unit::kernel:
      return {each(outputs), all(row / inputs), each(inputs)};
    case Unit::block:
      return {in_steps(outputs, unit.rows), all(1), in_steps(row, unit.columns)};
    case Unit::layer:
      return {all(1), all(1), all(shape.elements())};
    case Unit::channel:
      break;
  }
  fail("prune: channels are no layer's own");
}

}  // namespace

Unit Unit::block_of(int64_t rows, int64_t columns) {
  ESP_CHECK(rows > 0 && columns > 0, "prune: a block is ", rows, "x", columns, ", expected at least 1x1");
  Unit unit(block);
  unit.rows = rows;
  unit.columns = columns;
  return unit;
}

Unit Unit::n_of(int64_t n, int64_t m, bool pad) {
  if (n <= 0 || n >= m) fail_usage("unit: found '", n, ":", m, "', expected n:m with 0 < n < m, such as 2:4");
  Unit unit(n_of_m);
  unit.n = n;
  unit.m = m;
  unit.pad = pad;
  return unit;
}

std::string Unit::name() const { return kind == n_of_m ? fmt::format("{}:{}", n, m) : unit_names()[kind]; }

std::string Unit::plural() const {
  if (kind == n_of_m) return "weights";
  return (kind == block ? fmt::format("{}x{} ", rows, columns) : "") + name() + "s";
}

const std::vector<std::string>& unit_names() {
  static const std::vector<std::string> names = {"weight", "filter", "column",  "kernel", "block",
                                                 "n:m",    "layer",  "channel", "row"};
  return names;
}

Unit unit_named(const std::string& name) {
  if (name == "row") return Unit::filter;
  int64_t n = 0, m = 0;
  const char* const end = name.data() + name.size();
  const auto first = std::from_chars(name.data(), end, n);
  if (first.ec == std::errc() && first.ptr != end && *first.ptr == ':')
    if (const auto second = std::from_chars(first.ptr + 1, end, m);
        second.ec == std::errc() && second.ptr == end)
      return Unit::n_of(n, m);
  const Unit unit = static_cast<Unit::Kind>(position_of_name("unit", name, unit_names()));
  if (unit.kind == Unit::n_of_m) fail_usage("unit: found 'n:m', expected two numbers, such as 2:4");
  return unit;
}

std::vector<int64_t> line_of(const Parameter& weight) {
  std::vector<int64_t> line(static_cast<size_t>(weight.shape()[-1]));
  std::iota(line.begin(), line.end(), 0);
  if (weight.layout.kind != FileLayout::flattened) return line;
  const int64_t positions = weight.layout.positions, channels = std::ssize(line) / positions;
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t p = 0; p < positions; ++p) line[static_cast<size_t>(c * positions + p)] = p * channels + c;
  return line;
}

bool UnitMember::is_consecutive() const {
  const auto& [a, b, c] = axes;
  return a.part_of.empty() && a.parts == a.size && b.one_part() && c.one_part();
}

UnitSet::UnitSet(Unit of, const std::vector<Parameter*>& weights) : unit(of) {
  for (Parameter* weight : weights) {
    ESP_CHECK(weight->shape().axes() >= 2, weight->name, ": has no filters to prune, its shape is ",
              weight->shape());
    UnitMember member{.parameter = weight, .axes = axes_of(unit, *weight)};
    UnitGroup group{.layer = std::string(layer_name(weight->name)),
                    .first = count,
                    .count = member.units(),
                    .stream = static_cast<uint64_t>(count)};
    group.members.push_back(std::move(member));
    count += group.count;
    groups.push_back(std::move(group));
  }
}

UnitSet::UnitSet(std::shared_ptr<const Channels> of, const std::vector<char>& may_go)
    : unit(Unit::channel), channels(std::move(of)) {
  const auto& channel_groups = channels->graph.groups;
  for (size_t g = 0; g < channel_groups.size(); ++g) {
    if (!may_go[g]) continue;
    const ChannelGroup& from = channel_groups[g];
    UnitGroup group{.layer = maker_of(from),
                    .first = count,
                    .count = from.channels,
                    .stream = static_cast<uint64_t>(g) << 32,
                    .channel_group = g};
    for (const GroupMember& member : from.members)
      group.members.push_back(member_along(member, from.channels));
    count += group.count;
    groups.push_back(std::move(group));
  }
}

std::vector<std::vector<uint8_t>> UnitSet::verdicts(const Tensor& kept) const {
  std::vector<std::vector<uint8_t>> verdicts;
  for (const ChannelGroup& group : channels->graph.groups)
    verdicts.emplace_back(static_cast<size_t>(group.channels), uint8_t{1});
  for (const UnitGroup& group : groups)
    std::copy_n(kept.data<uint8_t>() + group.first, group.count, verdicts[group.channel_group].begin());
  return verdicts;
}

std::vector<Parameter*> prunable_weights(Module& model, const std::vector<std::string>& include,
                                         const std::vector<std::string>& exclude) {
  std::vector<Parameter*> weights = model.parameters();
  std::erase_if(weights, [](const Parameter* parameter) { return parameter->role != Role::weight; });
  std::vector<std::string> layers;
  for (const Parameter* weight : weights) layers.emplace_back(layer_name(weight->name));
  check_layer_lists({{"prune: include", include}, {"prune: exclude", exclude}}, layers);
  std::erase_if(weights, [&](const Parameter* weight) {
    const std::string_view layer = layer_name(weight->name);
    return (!include.empty() && !any_means_layer(include, layer)) || any_means_layer(exclude, layer);
  });
  ESP_CHECK(!weights.empty(), "prune: nothing to prune, ",
            include.empty() && exclude.empty() ? "the model has no convolution or linear layer"
                                               : "include and exclude leave no layer");
  return weights;
}

std::vector<char> groups_that_may_lose(const std::vector<ChannelGroup>& groups,
                                       const std::vector<std::string>& include,
                                       const std::vector<std::string>& exclude, const std::string& field) {
  check_layer_lists({{field + ": include", include}, {field + ": exclude", exclude}}, makers_of(groups));
  std::vector<char> may;
  for (const ChannelGroup& group : groups) {
    const bool included = include.empty() || any_means_layer(include, makers_of(group));
    may.push_back(group.fixed.empty() && included && !any_means_layer(exclude, makers_of(group)));
  }
  for (const std::string& entry : include) {
    std::string fixed;
    for (size_t g = 0; g < groups.size() && fixed != "none"; ++g)
      if (any_means_layer({entry}, makers_of(groups[g]))) fixed = may[g] ? "none" : groups[g].fixed;
    ESP_CHECK(fixed.empty() || fixed == "none", field, ": include '", entry, "': its channels are ", fixed,
              " and stay");
  }
  ESP_CHECK(
      std::ranges::count(may, 1) > 0, field,
      ": no channels may go: all but the network's input and output are left out by include and exclude");
  return may;
}

UnitSet units_of(Module& model, const Shape& input, const Unit& unit, const std::vector<std::string>& include,
                 const std::vector<std::string>& exclude) {
  if (unit.kind == Unit::channel) {
    Network network(model, input);
    ChannelGraph graph = channel_graph(model, network.graph);
    const auto may_go = groups_that_may_lose(graph.groups, include, exclude);
    return {
        std::make_shared<const UnitSet::Channels>(UnitSet::Channels{std::move(network), std::move(graph)}),
        may_go};
  }
  std::vector<Parameter*> weights = prunable_weights(model, include, exclude);
  if (unit.kind != Unit::filter && unit.kind != Unit::layer) return {unit, weights};
  const std::vector<std::string> output = output_layers(model, input);
  std::erase_if(weights, [&](const Parameter* weight) {
    const std::string_view layer = layer_name(weight->name);
    const bool named = std::ranges::any_of(
        include, [&](const std::string& entry) { return !is_pattern(entry) && means_layer(entry, layer); });
    return !named && std::ranges::count(output, layer) > 0;
  });
  ESP_CHECK(!weights.empty(), "prune: nothing to prune: the ", unit.plural(), " of the network's output, ",
            output.front(), ", stay unless include names it");
  return {unit, weights};
}

void find_places(UnitSet& units, Module& model, const Shape& input) {
  const Network network(model, input);
  std::string first, last;
  for (const GraphNode& node : network.graph.nodes)
    for (const int value : node.present()) {
      const Parameter* parameter = model.find(network.graph.values[static_cast<size_t>(value)].parameter);
      if (!parameter || parameter->role != Role::weight) continue;
      last = layer_name(parameter->name);
      if (first.empty()) first = last;
    }
  for (UnitGroup& group : units.groups) group.place = {group.layer == first, group.layer == last};
}

}  // namespace espalier
