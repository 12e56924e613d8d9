// Pruning as a book, after it: what masks have killed leaves. A channel is dead if nothing reads it, all
// weights that would being zero, or if it says the same to every image, all weights that make it being zero.
// The network without it puts out the same, is smaller, and is as fast as it looks.
#pragma once

#include "espalier/prune/pruner.h"

namespace espalier {

/// Takes dead channels out of the network, until there are none; images are `input` [H,W,C]. One that says
/// the same to every image goes if that is 0 where it is read, or can go into the layers that read it
/// (groups_that_fold in channels/fold.h): not into convolutions with padding, which see zeros beside it at
/// the border. Of each group of channels one at least stays, and those all that may not be cut
/// (ChannelGroup::fixed).
///
/// With a batch `verify` [N,H,W,C] the result has the proof: what the network put out before, beside what it
/// does after. Error as channel_graph, and then, as after any other, the model is as it was.
PruneResult remove_dead(Module& model, const Shape& input, const Tensor& verify = {});

}  // namespace espalier
