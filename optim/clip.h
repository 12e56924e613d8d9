// Gradient clipping by norm (Pascanu et al. 2013), as torch.nn.utils.clip_grad_norm_. The factor stays where
// the gradients are and goes to the optimizer's pass, so that clipping reads the gradients once, writes one
// number, and the host does not wait for it.
#pragma once

#include <vector>

#include "espalier/nn/parameter.h"

namespace espalier {

/// What to multiply all gradients by so that their norm is at most `max_norm`: min(1, max_norm / (norm +
/// 1e-6)), f32 of one element on their device; for Optimizer::step. Gradients of masked weights, which no
/// step follows, are left out of the norm.
Tensor clip_factor(const std::vector<Parameter*>& parameters, double max_norm);
/// That Euclidean norm of all gradients together, for the host: waits for the device.
double gradient_norm(const std::vector<Parameter*>& parameters);

}  // namespace espalier
