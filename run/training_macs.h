// What training with masks would take where zeros cost nothing, as papers count it: multiply-accumulates of
// convolutions and linear layers, in a step forward, to the inputs' gradients and to the weights'.
#pragma once

#include "espalier/nn/module.h"
#include "espalier/prune/schedule.h"
#include "espalier/train/train_config.h"

namespace espalier {

/// Those of a stage with regrow over those of the dense network's training, by the masks that `model`, whose
/// images are `input` [H,W,C], has. Forward and to the inputs only weights in use count. To the weights:
/// under set, too; under rigl, but for the steps in which masks move, which look at all; under
/// sparse_momentum and straight_through all do; under top_kast those that train.
double training_macs_share(const TrainConfig& train, Module& model, const Shape& input,
                           const StageLength& stage);

}  // namespace espalier
