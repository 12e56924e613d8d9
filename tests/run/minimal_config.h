// The config that tests of configs change, one field at a time.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "espalier/run/config.h"

namespace espalier {

/// A stage of each kind, and fields that have no default.
inline nlohmann::ordered_json minimal() {
  return nlohmann::ordered_json::parse(R"({
    "model": {"type": "mlp"},
    "data": {"type": "synthetic"},
    "stages": [
      {"name": "dense", "train": {"epochs": 3, "optimizer": {"type": "sgd", "lr": 0.1}}},
      {"name": "pruned", "prune": {"sparsity": 0.3}},
      {"name": "measured", "evaluate": {}},
      {"name": "gradual", "train": {"steps": 50, "optimizer": {"type": "adam", "lr": 0.1},
       "prune": {"sparsity": 0.9, "schedule": {"type": "cubic", "begin": 10, "end": 40, "every": 5}}}}]})");
}

inline Config parse(const nlohmann::ordered_json& json, const std::vector<std::string>& overrides = {}) {
  return parse_config(json.dump(2), "x.json", overrides);
}

/// The minimal config with `value` (JSON) at `pointer`; nothing there if `value` is empty.
inline nlohmann::ordered_json with(const std::string& pointer, const std::string& value) {
  nlohmann::ordered_json json = minimal();
  const nlohmann::ordered_json::json_pointer at(pointer);
  if (value.empty()) {
    json[at.parent_pointer()].erase(at.back());
  } else {
    json[at] = nlohmann::ordered_json::parse(value);
  }
  return json;
}

}  // namespace espalier
