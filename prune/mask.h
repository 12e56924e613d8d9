// Pruning as a book, step 7, mask: one of the two ways to apply a selection, zero and hold. The value is
// stored masked and the optimizer holds it there (Parameter::set_mask); shapes do not change.
#pragma once

#include "espalier/core/tensor.h"
#include "espalier/nn/module.h"
#include "espalier/prune/unit.h"

namespace espalier {

/// Masks all learned numbers of the units whose verdict in `kept` [units.count] (Ranking::select; on the CPU)
/// is 0: values, the optimizer's state and moving averages become 0 there and stay 0. What a mask dropped
/// before stays dropped unless it `gives_back`: then what the verdicts keep may learn again, from 0. A pruned
/// filter keeps its bias; a channel loses it. A parameter that loses nothing gets no mask.
void apply_masks(const UnitSet& units, const Tensor& kept, bool gives_back = false);

/// The same without a mask: sets the values of those units to zero, and nothing besides, so that a training
/// step may change them again. What a mask holds stays held.
void zero_units(const UnitSet& units, const Tensor& kept);

/// Makes all masks of the model permanent: the zeros stay, and are plain zeros that training may change.
void remove_masks(Module& model);

}  // namespace espalier
