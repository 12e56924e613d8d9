// Pruning as a book, layer collapse: where so little is left of a layer that it holds up all others, however
// many weights those still have.
#pragma once

#include <string>
#include <vector>

#include "espalier/nn/module.h"

namespace espalier {

/// "layer collapse: fc1 is left with 12 of 235,200 weights, in 3 of 300 rows", for each layer of whose
/// weights less than one in a thousand is not zero, or of whose rows less than one in ten has such a weight.
std::vector<std::string> collapsed_layers(Module& model);

}  // namespace espalier
