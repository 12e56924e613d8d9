// Pruning as a book, step 3, signals: what criteria that look at data see, gathered by passes over some of
// it.
#pragma once

#include <cstdint>
#include <functional>

#include "espalier/nn/module.h"
#include "espalier/prune/criterion.h"

namespace espalier {

/// What `looks` asks for, from the losses loss(0) .. loss(batches - 1), each a scalar with a history:
///   at_gradients  g = mean of d(loss(i))/dw
///   at_curvature  h = mean of (d(loss(i))/dw)^2; the Fisher information's diagonal if each is one image's
/// The model is in inference mode meanwhile, so that images do not see each other through batch norms, and
/// its gradients are gone afterwards.
Signals gather_signals(Module& model, Looks looks, int64_t batches,
                       const std::function<Variable(int64_t)>& loss);

}  // namespace espalier
