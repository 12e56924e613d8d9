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
///
/// Why squares say what a weight is worth: with p the model's probability of the label and L = -log p, the
/// Fisher information is F = E[dL dL'], dL = dL/dw, over images and labels. Since d2L = dL dL' - d2p / p, and
/// the mean of d2p / p over labels drawn from the model is the second derivative of sum p = 1, which is 0, F
/// is the mean Hessian. To lose w_i where the mean gradient is 0 then costs about w_i^2 F_ii / 2 (LeCun,
/// Denker and Solla 1990), and of F only the diagonal is needed, the mean of (dL/dw_i)^2. Labels here are the
/// data's, not drawn from the model: the empirical Fisher, the same as far as the model has learned how
/// labels are distributed (Kunstner, Hennig and Balles 2019).
Signals gather_signals(Module& model, Looks looks, int64_t batches,
                       const std::function<Variable(int64_t)>& loss);

}  // namespace espalier
