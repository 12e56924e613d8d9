// Tidying: a graph whose ops stand each by itself, as a file of another tool's says them, as layers of ours
// would record it, so that it runs as fast and is pruned as far.
#pragma once

#include "espalier/graph/graph.h"

namespace espalier {

/// The same network, in which
/// - an activation that is all that reads a layer which can end with it (Op::activation) is that layer's, the
/// other way of
///   with_activations_apart (graph/op.h);
/// - a sum that is all that reads a batch norm is its residual;
/// - the mean of all pixels that is only flattened is a global_average_pool;
/// and values that no op reads or makes are gone.
Graph tidied(Graph graph);

}  // namespace espalier
