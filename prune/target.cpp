#include "espalier/prune/target.h"

#include <limits>
#include <unordered_map>

#include "espalier/util/error.h"

namespace espalier {

CostModel::CostModel(Module& model, const Graph& graph) {
  const auto macs = macs_by_weight(graph);
  if (const auto found = macs.find(""); found != macs.end()) macs_of_activations_ = found->second;
  for (const Parameter* parameter : model.parameters()) {
    const auto found = macs.find(parameter->name);
    sizes_.push_back({parameter->name, parameter->shape(), parameter->learned(),
                      static_cast<int64_t>(dtype_bytes(parameter->value().dtype())),
                      found == macs.end() ? 0 : found->second});
  }
}

NetworkCost CostModel::after(const std::vector<AxisCut>& cuts) const {
  std::unordered_map<std::string_view, std::vector<const AxisCut*>> of;
  for (const AxisCut& one : cuts) of[one.parameter].push_back(&one);
  NetworkCost cost{.macs = macs_of_activations_};
  for (const Size& size : sizes_) {
    int64_t elements = size.shape.elements(), macs = size.macs;
    if (const auto found = of.find(size.name); found != of.end())
      for (const AxisCut* one : found->second) {
        const auto kept = static_cast<int64_t>(one->kept.size());
        elements = elements / one->before * kept;
        macs = macs / one->before * kept;
      }
    cost.macs += macs;
    if (size.learned) cost.parameters += elements;
    cost.bytes += elements * size.element_bytes;
  }
  return cost;
}

namespace {

struct Range {
  double from, to;
  const char* expected;
};

struct Row {
  const char* name;
  Range range;
  bool of_masks, of_channels;
};

constexpr double infinity = std::numeric_limits<double>::infinity(),
                 least = std::numeric_limits<double>::min();
constexpr Range share{0, 1, "0..1"}, any{-infinity, infinity, "a number"},
    positive{least, infinity, "more than 0"};
/// In the order of Target::Kind.
constexpr Row rows[] = {{"sparsity", share, true, false},
                        {"threshold", any, true, true},
                        {"quantile", share, true, true},
                        {"ratio", share, false, true},
                        {"speedup", {1, infinity, "at least 1"}, false, true},
                        {"macs", positive, false, true},
                        {"parameters", positive, false, true},
                        {"bytes", positive, false, true},
                        {"latency_ms", positive, false, true}};

}  // namespace

const std::vector<std::string>& target_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Row& row : rows) all.emplace_back(row.name);
    return all;
  }();
  return names;
}

void check(const Target& target) {
  const auto& [name, range, of_masks, of_channels] = rows[target.kind];
  if (!(target.value >= range.from && target.value <= range.to))
    fail_usage("prune: ", name, " is ", target.value, ", expected ", range.expected);
}

std::string why_not(Target::Kind target, const Unit& unit) {
  const Row& row = rows[target];
  const bool channels = unit.kind == Unit::channel;
  if (channels ? row.of_channels : row.of_masks) return "";
  if (target == Target::sparsity) return "sparsity is the share of zeros: of channels the share is ratio";
  if (target == Target::ratio) return "ratio is a share of channels: of " + unit.plural() + " it is sparsity";
  return join(row.name, " stays as it is where ", unit.plural(),
              " are masked, for the network computes its zeros: expected sparsity, or unit channel");
}

std::string why_no_shares(const std::string& whose, Target::Kind target) {
  if (target == Target::sparsity) return "";
  return join(whose, " goes with sparsity, of which each layer has its part, and not with ",
              rows[target].name);
}

OriginalNetwork original_network(Module& model, const Shape& input) {
  const Network network(model, input);
  OriginalNetwork original;
  original.cost = CostModel(model, network.graph).after({});
  original.history = model.history;
  for (const ChannelGroup& group : channel_graph(model, network.graph).groups) {
    original.channels[maker_of(group)] = group.channels;
    for (const Makers& makers : side_by_side(group))
      if (!makers.all()) original.parts[makers.layers.front()] = makers.channels;
  }
  return original;
}

}  // namespace espalier
