#include "espalier/prune/target.h"

#include <unordered_map>

#include "espalier/core/error.h"

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

const std::vector<std::string>& target_names() {
  static const std::vector<std::string> names = {"ratio",      "speedup", "macs",
                                                 "parameters", "bytes",   "latency_ms"};
  return names;
}

void check(const Target& target) {
  const double v = target.value;
  const auto require = [&](bool good, const char* expected) {
    if (!good) fail_usage("prune: ", target_names()[target.kind], " is ", v, ", expected ", expected);
  };
  if (target.kind == Target::ratio)
    require(v >= 0 && v <= 1, "0..1");
  else if (target.kind == Target::speedup)
    require(v >= 1, "at least 1");
  else
    require(v > 0, "more than 0");
}

}  // namespace espalier
