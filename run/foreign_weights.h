// Weights as other tools write them, brought to the names that a model of ours has, which are PyTorch's of
// the model itself.
#pragma once

#include <string>

#include "espalier/formats/safetensors.h"
#include "espalier/nn/module.h"

namespace espalier {

/// Changes the tensors of `file`, in messages `source`, so that `model` can load them:
///   - what a wrapper put before all names ("module." DataParallel, "_orig_mod." torch.compile, "model." a
///     module that holds the network) is taken off, unless the model's own names begin with it;
///   - NAME_orig and NAME_mask, which torch.nn.utils.prune leaves of NAME, become NAME, their product, and
///     mask/NAME (u8 of 0 and 1, as in a checkpoint);
///   - a batch norm's num_batches_tracked that is missing is 0, as in PyTorch.
/// Returns what was taken off, or nothing. Error for a NAME_mask that does not fit its NAME_orig.
std::string adapt_foreign_weights(TensorFile& file, Module& model, const std::string& source);

}  // namespace espalier
