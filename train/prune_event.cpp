#include "espalier/train/prune_event.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "espalier/prune/pruner.h"
#include "espalier/prune/unit.h"

namespace espalier {

using Json = nlohmann::ordered_json;

namespace {

int64_t nonzeros_of(const Parameter& parameter) {
  if (!parameter.mask.defined() || parameter.mask.device() == Device::meta) return parameter.nonzeros();
  const Tensor mask = parameter.mask.to(Device::cpu);
  return std::ranges::count(mask.span<uint8_t>(), 1);
}

}  // namespace

std::vector<LayerSize> layer_sizes(Module& model) {
  std::vector<LayerSize> layers;
  for (const Parameter* parameter : model.parameters())
    if (parameter->role == Role::weight)
      layers.push_back({.name = std::string(layer_name(parameter->name)),
                        .channels = parameter->shape()[0],
                        .weights = parameter->value().elements(),
                        .nonzeros = nonzeros_of(*parameter)});
  return layers;
}

double sparsity_of(const std::vector<LayerSize>& layers) {
  int64_t weights = 0, zeros = 0;
  for (const LayerSize& layer : layers) {
    weights += layer.weights;
    zeros += layer.weights - layer.nonzeros;
  }
  return weights ? static_cast<double>(zeros) / static_cast<double>(weights) : 0.0;
}

bool cuts_channels(const PruneConfig& config) {
  const bool channels = unit_named(config.unit).kind == Unit::channel;
  return config.apply ? apply_named(*config.apply) == Apply::cut : channels;
}

PruneEvent::PruneEvent(const PruneConfig& by, Module& model, int64_t macs)
    : unit(by.unit),
      criterion(by.criterion.type),
      scope(by.scope),
      cuts(cuts_channels(by)),
      layers_before(layer_sizes(model)),
      macs_before(macs),
      macs_after(macs) {}

void PruneEvent::end(Module& model, int64_t macs) {
  layers_after = layer_sizes(model);
  macs_after = macs;
}

Json to_json(const PruneEvent& event) {
  const auto change = [](int64_t before, int64_t after) {
    return Json{{"before", before}, {"after", after}};
  };
  Json json{{"unit", event.unit}, {"criterion", event.criterion}, {"scope", event.scope}};
  if (event.cuts) json["macs"] = change(event.macs_before, event.macs_after);
  json["layers"] = Json::array();
  for (size_t i = 0; i < event.layers_before.size(); ++i) {
    const LayerSize &before = event.layers_before[i], &after = event.layers_after[i];
    Json layer{{"name", before.name}};
    if (event.cuts) {
      layer["channels"] = change(before.channels, after.channels);
    } else {
      layer["weights"] = before.weights;
      layer["nonzeros"] = change(before.nonzeros, after.nonzeros);
    }
    json["layers"].push_back(std::move(layer));
  }
  return json;
}

}  // namespace espalier
