// The history of a model's cuts as JSON, as checkpoints keep it: what a program has to cut from the fresh
// network of the config to get the shapes in the file.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "espalier/nn/module.h"

namespace espalier {

/// [{"before": 64, "kept": [0, 2, ...], "axes": [["features.0.weight", 0], ["features.1.weight", 0], ...]},
/// ...]: an entry for all axes that keep the same; axes count as in memory, images NHWC, convolutions OHWI.
nlohmann::ordered_json history_json(const std::vector<AxisCut>& history);
/// What such a text says; an Error that begins with `source` for any other.
std::vector<AxisCut> history_from(const std::string& text, const std::string& source);

}  // namespace espalier
