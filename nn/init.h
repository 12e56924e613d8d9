// Initial values, PyTorch's defaults. Number i of a parameter, counted in PyTorch's layout, is a pure
// function of the seed, the parameter's place in the model and i, so that bench/formula.py makes the same
// network in PyTorch. They are drawn on the host, whatever the model's device.
#pragma once

#include <functional>

#include "espalier/nn/module.h"

namespace espalier {

/// Fills weights and biases of every layer with U(-1/sqrt(fan_in), 1/sqrt(fan_in)), fan_in = inputs of one
/// output: what torch.nn.Linear and Conv2d do (kaiming_uniform with a = sqrt 5; He et al. 2015). Parameter k
/// of `model`, in order, gets (2 random_uniform(random_key(seed, k), i) - 1) / sqrt(fan_in) at place i.
/// Embeddings: the same with U(-a, a), a = 0.02 sqrt 3. `which`: only those parameters; absent: all.
void initialize(Module& model, uint64_t seed, const std::function<bool(const Parameter&)>& which = {});

}  // namespace espalier
