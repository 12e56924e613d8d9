// Pruning as a book, after it: what masks have killed leaves. A channel is dead if nothing reads it, all
// weights that would being zero, or if it says the same to every image, all weights that make it being zero.
// The network without it puts out the same, is smaller, and is as fast as it looks.
#pragma once

#include "espalier/channels/graph.h"
#include "espalier/prune/pruner.h"

namespace espalier {

/// For each group which channels live: 1. Those of groups that may not be cut (ChannelGroup::fixed) all do,
/// and of every group one at least. A channel that says the same to every image is dead only where what it
/// says can go into the layers that read it (groups_that_fold) and a norm on its way follows the layer that
/// makes it, or where it says 0. `channels` are the model's, whose graph it is.
ChannelVerdicts living_channels(Module& model, const Graph& graph, const ChannelGraph& channels);

/// Takes dead channels out of the network, until there are none; images are `input` [H,W,C]. With a batch
/// `verify` [N,H,W,C] the result has the proof: what the network put out before, beside what it does after.
/// Error as channel_graph, and then, as after any other, the model is as it was.
PruneResult remove_dead(Module& model, const Shape& input, const Tensor& verify = {});

}  // namespace espalier
