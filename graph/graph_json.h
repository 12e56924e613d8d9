// A graph as JSON, which checkpoints carry and other tools read: docs/formats.md.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "espalier/graph/graph.h"

namespace espalier {

/// {"values": [{"shape", "parameter"}], "ops": [{"op", "attributes", "inputs", "output", "channels"}]}; value
/// 0 is the image. An input is the number of a value, -1 for an optional one that is left out.
nlohmann::json to_json(const Graph& graph);

/// The graph that `text` says. Error, which begins with `place` and names the place in it, for any text that
/// describes none: every value is put out once, before it is read; ops that have a row (op.h) have its inputs
/// and attributes; value 0 is an image [1,H,W,C], the last op puts out a row of logits [1,K].
Graph graph_from_json(const std::string& text, const std::string& place);

}  // namespace espalier
