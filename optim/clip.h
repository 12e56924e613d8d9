// Gradient clipping by norm (Pascanu et al. 2013), as torch.nn.utils.clip_grad_norm_. The factor goes to the
// optimizer's pass, so that clipping reads the gradients once and writes nothing.
#pragma once

#include <vector>

#include "espalier/nn/parameter.h"

namespace espalier {

/// The Euclidean norm of all gradients together; those of masked weights, which no step follows, are left out.
double gradient_norm(const std::vector<Parameter*>& parameters);
/// What to multiply gradients of that norm by so that it is at most `most`: min(1, most / (norm + 1e-6)).
double clip_factor(double norm, double most);

}  // namespace espalier
