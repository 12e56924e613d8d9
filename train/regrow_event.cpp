#include "espalier/train/regrow_event.h"

#include <nlohmann/json.hpp>

namespace espalier {

nlohmann::ordered_json to_json(const RegrowEvent& event) {
  auto layers = nlohmann::ordered_json::array();
  for (const Regrown::Layer& layer : event.moved.layers)
    layers.push_back({{"name", layer.name},
                      {"weights", layer.weights},
                      {"active", layer.active},
                      {"dropped", layer.dropped},
                      {"grown", layer.grown}});
  return {{"type", event.type}, {"layers", std::move(layers)}};
}

}  // namespace espalier
