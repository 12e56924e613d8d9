// Pruning as a book, step 3: what criteria that need more than weights see, gathered by passes over some
// data.
#pragma once

#include <cstdint>
#include <functional>
#include <map>

#include "espalier/nn/module.h"
#include "espalier/prune/criterion.h"

namespace espalier {

/// Mean squares of gradients of each parameter, in its shape, on the CPU, where scores are made.
struct GradientSquares {
  std::map<const Parameter*, Tensor> of_parameters;

  /// Those of `parameter` for a criterion that needs `needs`; null if it does not. Error where the parameter
  /// has none, or of another shape.
  const float* of(const Criterion& criterion, const Parameter& parameter, Needs needs) const;
};

/// Mean of (d(loss(i))/dw)^2 over the losses loss(0) .. loss(batches - 1), each a scalar with a history: of a
/// batch each for Needs::gradients; of a single image for Needs::curvature, for then it is the Fisher
/// information's diagonal. Squared one by one, for near a minimum the gradients themselves cancel.
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
GradientSquares gather_gradients(Module& model, Needs needs, int64_t batches,
                                 const std::function<Variable(int64_t)>& loss);

}  // namespace espalier
