// Pruning as a book, step 7, mask: one of the two ways to apply a selection, zero and hold. The value is
// stored masked and the optimizer holds it there (Parameter::set_mask); shapes do not change.
#pragma once

#include "espalier/core/tensor.h"
#include "espalier/nn/module.h"
#include "espalier/prune/unit.h"

namespace espalier {

/// Masks the units whose verdict in `kept` [units.count] (select; on the CPU) is 0: values, optimizer slots
/// and moving averages become 0 there and stay 0. What a mask dropped before stays dropped. A pruned row
/// keeps its bias. A layer that loses nothing gets no mask.
void apply_masks(const UnitSet& units, const Tensor& kept);

/// Makes all masks of the model permanent: the zeros stay, and are plain zeros that training may change.
void remove_masks(Module& model);

}  // namespace espalier
