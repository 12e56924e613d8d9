// Initial values. Number i of a parameter, counted in PyTorch's layout, is a pure function of the seed, the
// parameter's place in the model and i, so that bench/formula.py makes the same network in PyTorch by the
// rule `pytorch`. They are drawn on the host, whatever the model's device; the normal ones' last bits are the
// C library's (log, cos).
#pragma once

#include <functional>
#include <string>

#include "espalier/nn/module.h"
#include "espalier/util/registry.h"

namespace espalier {

/// By what the weights of convolutions and linear layers begin, `model.init` of a config: uniform on
/// (-spread, spread), or normal of deviation `spread`. fan_in: inputs of one output, those of its group;
/// fan_out: outputs of one input, counted as PyTorch does: all channels of the output times the kernel.
struct InitRule {
  std::string name, help;
  std::function<double(double fan_in, double fan_out)> spread;
  bool normal = false;
  bool draws_biases = false;  ///< as their layer's weights; otherwise they begin at 0
};

/// `pytorch` first, what torch.nn.Linear and Conv2d do by themselves; the others have the names of
/// torch.nn.init.
Registry<InitRule>& init_rules();

/// Fills weights and biases of every layer by the rule of that name (UsageError if there is none): number i
/// of parameter k of `model`, in order, comes from random_key(seed, k); uniform: (2 random_uniform(key, i) -
/// 1) spread, normal: box_muller(random_uniform(key, 2 i), random_uniform(key, 2 i + 1)) spread. Embeddings
/// are uniform on (-a, a), a = 0.02 sqrt 3, by each rule. `which`: only those parameters; absent: all.
void initialize(Module& model, uint64_t seed, const std::string& rule = "pytorch",
                const std::function<bool(const Parameter&)>& which = {});

}  // namespace espalier
