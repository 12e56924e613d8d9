// Pruning as a book, step 3: the signal of the criterion woodfisher.
#pragma once

#include "espalier/prune/signals.h"

namespace espalier {

/// The inverse of the empirical Fisher information F = damping I + (1 / m) sum over m images of g g', g the
/// gradient of the image's loss, of the weights of convolutions and linear layers in blocks of `block_size`
/// along their order in memory; what is between blocks is taken for 0. As matrices the blocks' inverses,
/// image by image by Woodbury's identity,
///   F^-1 <- F^-1 - (F^-1 g)(F^-1 g)' / (m + g' F^-1 g),   first I / damping,
/// and as a number, for scores, 1 / [F^-1]_qq. Damping and block size are the criterion's options (Singh and
/// Alistarh: WoodFisher: Efficient Second-Order Approximation for Neural Network Compression, NeurIPS 2020).
/// Memory: 8 block_size bytes a weight.
Signals inverse_fisher(Module& model, const Shape& input, const Criterion& criterion, const SignalData& data);

}  // namespace espalier
