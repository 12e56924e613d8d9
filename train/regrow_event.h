// How one act of a stage's regrowth moved masks, layer by layer: a row of metrics.jsonl.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "espalier/prune/regrow.h"

namespace espalier {

struct RegrowEvent {
  std::string type;   ///< of the method
  int64_t every = 1;  ///< steps between two of them
  Regrown moved = {};
};

/// {"type", "layers": [{"name", "weights", "active", "dropped", "grown"}]}
nlohmann::ordered_json to_json(const RegrowEvent& event);

}  // namespace espalier
