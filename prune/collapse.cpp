#include "espalier/prune/collapse.h"

#include <fmt/format.h>

#include <algorithm>

#include "espalier/nn/names.h"
#include "espalier/util/table.h"

namespace espalier {

std::vector<std::string> collapsed_layers(Module& model) {
  std::vector<std::string> lines;
  for (const Parameter* parameter : model.parameters()) {
    if (parameter->role != Role::weight) continue;
    const Tensor value = parameter->value().to(Device::cpu);
    const int64_t filters = value.shape()[0], weights = value.elements(), size = weights / filters;
    int64_t left = 0, filters_left = 0;
    for (int64_t r = 0; r < filters; ++r) {
      const float* row = value.f32() + r * size;
      const int64_t zeros = std::count(row, row + size, 0.0f);
      left += size - zeros;
      filters_left += zeros < size;
    }
    if (left * 1000 >= weights && left >= filters && filters_left * 10 >= filters) continue;
    lines.push_back(fmt::format("layer collapse: {} is left with {} of {} weights, in {} of {} filters",
                                layer_name(parameter->name), grouped(left), grouped(weights),
                                grouped(filters_left), grouped(filters)));
  }
  return lines;
}

std::vector<std::string> foreseen_collapse(Module& model, const Shape& input, const PruneOptions& options) {
  std::vector<std::string> lines;
  const bool takes_outputs = options.unit.kind == Unit::filter || options.unit.kind == Unit::layer;
  for (const PruneResult::Layer& layer : foreseen_layers(model, input, options))
    for (const Parameter* parameter : model.parameters()) {
      if (parameter->role != Role::weight || layer_name(parameter->name) != layer.name) continue;
      const int64_t weights = parameter->value().elements(), outputs = parameter->shape()[0],
                    left = weights * layer.left() / layer.units;
      if (left > 0 && (takes_outputs || left >= outputs)) continue;
      lines.push_back(fmt::format("layer collapse: {} will be left with {} of {} weights, and has {} {}",
                                  layer.name, grouped(left), grouped(weights), grouped(outputs),
                                  plural(outputs, "output")));
    }
  return lines;
}

namespace {

/// The units of a layer that are dead, by its mask.
DeadUnits dead_of(const Parameter& parameter) {
  const Tensor mask = parameter.mask.to(Device::cpu);
  const int64_t filters = mask.shape()[0], columns = mask.shape()[-1], size = mask.elements() / filters;
  DeadUnits dead{
      .layer = std::string(layer_name(parameter.name)), .of_filters = filters, .of_columns = columns};
  std::vector<char> is_read(static_cast<size_t>(columns));
  for (int64_t f = 0; f < filters; ++f) {
    const uint8_t* const filter = mask.data<uint8_t>() + f * size;
    dead.filters += std::find(filter, filter + size, 1) == filter + size;
    for (int64_t i = 0; i < size; ++i)
      if (filter[i]) is_read[static_cast<size_t>(i % columns)] = 1;
  }
  dead.columns = std::ranges::count(is_read, 0);
  return dead;
}

/// "12 of 300 filters and 8 of 784 columns"
std::string counts_of(const DeadUnits& dead) {
  std::string text;
  if (dead.filters > 0)
    text = fmt::format("{} of {} filters", grouped(dead.filters), grouped(dead.of_filters));
  if (dead.columns > 0)
    text += fmt::format("{}{} of {} columns", text.empty() ? "" : " and ", grouped(dead.columns),
                        grouped(dead.of_columns));
  return text;
}

}  // namespace

std::vector<DeadUnits> dead_units(Module& model) {
  std::vector<DeadUnits> all;
  for (const Parameter* parameter : model.parameters()) {
    if (parameter->role != Role::weight || !parameter->mask.defined()) continue;
    DeadUnits dead = dead_of(*parameter);
    if (dead.filters + dead.columns > 0) all.push_back(std::move(dead));
  }
  return all;
}

std::string dead_line(const std::vector<DeadUnits>& dead) {
  if (dead.empty()) return "";
  DeadUnits sum;
  for (const DeadUnits& layer : dead) {
    sum.filters += layer.filters;
    sum.of_filters += layer.of_filters;
    sum.columns += layer.columns;
    sum.of_columns += layer.of_columns;
  }
  const auto most = std::ranges::max_element(
      dead, {}, [](const DeadUnits& layer) { return layer.filters + layer.columns; });
  const std::string none = "have no weight that is not masked";
  if (dead.size() == 1) return fmt::format("dead: {} of {} {}", counts_of(*most), most->layer, none);
  return fmt::format("dead: {} of {} layers {}, most in {} ({})", counts_of(sum), dead.size(), none,
                     most->layer, counts_of(*most));
}

}  // namespace espalier
