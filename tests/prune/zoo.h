// Small convolutional networks, and a prune of their channels.
#pragma once

#include <memory>

#include "espalier/nn/models/models.h"
#include "espalier/prune/pruner.h"
#include "prune/hand_made.h"
#include "prune/small_net.h"

namespace espalier {

inline const Shape small_image{8, 8, 3};

inline std::unique_ptr<Module> random_model(const char* type, uint64_t seed) {
  auto model = make_model({.type = type, .input = small_image, .classes = 10, .width = 0.5}, 0);
  randomize(*model, seed);
  return model;
}

inline PruneResult prune_to(Module& model, Target target, PruneOptions options = cut_channels()) {
  options.target = target;
  options.selection.limits.min_channels = 1;
  return prune(model, small_image, original_network(model, small_image), options);
}

inline int64_t macs(Module& model) { return Network(model, small_image).totals.macs; }

}  // namespace espalier
