// Pruning as a book, step 1 for people: the groups as text, and the network with its groups as a picture.
#pragma once

#include <string>

#include "espalier/channels/graph.h"
#include "espalier/util/terminal.h"

namespace espalier {

/// For each group its channels (real ones: with ChannelGroup::multiplicity), the weights that go with one, or
/// with those that go together, the layers that make them and those that read them: `espalier graph`. Lines
/// of at most `width` columns, longer only where a name is.
std::string graph_text(const ChannelGraph& graph, size_t width = any_width);

/// The network in Graphviz's DOT language: a node for each op, an edge for each value with its channels, in
/// the color of its group; dashed where the group is fixed.
std::string graph_dot(const ChannelGraph& channels, const Graph& graph);

}  // namespace espalier
