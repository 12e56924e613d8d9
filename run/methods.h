// The zoo: published pruning methods as data. A method is a row, which names it, its paper, and the stages of
// a config that make it; what it is made of is read off these. tests/run/methods_test.cpp goes over all rows:
// each is read, trains, and goes on to the same bits.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "espalier/util/registry.h"

namespace espalier {

struct MethodInfo {
  std::string name, help;
  std::string paper;               ///< authors: title, venue
  std::string model = "lenet300";  ///< of its example, a row of models()
  /// JSON, a config's "stages". Unit, criterion and scope are said, whatever the defaults are. Of lengths
  /// only epochs and shares of a stage ("in": "share"), so that other epochs need no other change.
  std::string stages;
};
/// Of Espalier, and of a program that has added some.
Registry<MethodInfo>& methods();

/// What its stages name, each once and in their order: "unit channel, criterion taylor, scope global,
/// schedule linear". An object in a pruner or a train stage is called by its type, a switch that is on by its
/// name; how a network trains (optimizer, learning rate) is left out.
std::string pieces(const MethodInfo& method);

/// A complete config of it, called as the method: its model on MNIST, or on CIFAR-10 if it takes colour
/// images.
nlohmann::ordered_json method_config(const MethodInfo& method);

}  // namespace espalier
