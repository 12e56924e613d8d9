// Pruning as a book, step 7, fold: what a channel that goes says whatever the image. Without its weights and
// its norm's scale a channel is constant, f(beta), or f(bias) where no norm follows, f(0) without a bias;
// cut, it would be 0. Where a constant can be moved past the layers that read it, it is, so that they
// notice nothing. A convolution without padding and a linear layer see the constant everywhere alike: it goes
// into their bias, or into the running mean of the norm right after them. A padded convolution sees zeros at
// the border instead, so there nothing is moved, and the channel counts as 0.
#pragma once

#include "espalier/channels/graph.h"

namespace espalier {

/// For each group true if all that reads its channels can take a constant. `channels` are the model's, whose
/// graph it is.
std::vector<char> groups_that_fold(Module& model, const Graph& graph, const ChannelGraph& channels);

/// Moves the constants of the channels that `kept` ([groups][channels], 0 if it goes) drops, of groups that
/// fold; of what stands in for values (TensorUse::stand_in) into what stands in for biases, too. To be called
/// before they are cut; zero_channels (surgery.h) leaves what it needs.
void fold_constants(Module& model, const Graph& graph, const ChannelGraph& channels,
                    const ChannelVerdicts& kept);

}  // namespace espalier
