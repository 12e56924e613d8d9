// A graph as JSON, which checkpoints carry and other tools read: docs/formats.md.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "espalier/graph/graph.h"

namespace espalier {

/// The version that is written; files up to it are read.
inline constexpr int64_t graph_version = 2;

/// {"version", "inputs": [{"name", "value"}], "outputs": [{"name", "value"}], "values": [{"shape",
/// "parameter"}], "ops": [{"op", "attributes", "inputs", "output", "channels"}]}. An op's inputs are numbers
/// of values by the names of its row, lists where there may be several; of an op without a row, and in
/// version 1, all of them in a list, -1 for one that is left out.
nlohmann::json to_json(const Graph& graph);

/// The graph that `text` says. Error, which begins with `place` and names the place in it, for any text that
/// describes none: every value is put out once, before it is read; ops that have a row (op.h) have its inputs
/// and attributes; value 0 is an image [1,H,W,C], the last op puts out a row of logits [1,K].
Graph graph_from_json(const std::string& text, const std::string& place);

}  // namespace espalier
