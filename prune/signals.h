// Pruning as a book, step 3, signals: what criteria that look at data see, gathered by passes over some of
// it.
#pragma once

#include <cstdint>
#include <functional>

#include "espalier/nn/module.h"
#include "espalier/prune/criterion.h"

namespace espalier {

/// Mean of (d(loss(i))/dw)^2 over the losses loss(0) .. loss(batches - 1), each a scalar with a history: of a
/// batch each where `looks` is at_gradients; of a single image where it is at_curvature, for then it is the
/// Fisher information's diagonal. Squared one by one, for near a minimum the gradients themselves cancel.
/// The model is in inference mode meanwhile, so that images do not see each other through batch norms, and
/// its gradients are gone afterwards.
Signals gather_signals(Module& model, Looks looks, int64_t batches,
                       const std::function<Variable(int64_t)>& loss);

}  // namespace espalier
