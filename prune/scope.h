// Pruning as a book, step 4, scope: which units are ranked against each other, and whether each layer has a
// share of its own. Every scope is one row of the table in scope.cpp.
//
// A worked example of erk, three linear layers, sparsity 0.5:
//   layer   weights   raw: (outputs + inputs) / weights   raw x weights
//   a       2x8 = 16  10/16 = 0.625                        10
//   b       8x8 = 64  16/64 = 0.25                         16
//   c       4x8 = 32  12/32 = 0.375                        12
// 56 of 112 stay: eps = 56 / 38 = 1.4737, and the largest density is 1.4737 x 0.625 = 0.921. So 14.7 of a's
// weights stay, 23.6 of b's, 17.7 of c's: 15, 23 and 18. At sparsity 0.4 eps would be 67.2 / 38 = 1.7684, and
// a's density 1.105: a is dense then, and eps = (67.2 - 16) / 28 = 1.8286 for b and c.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "espalier/core/shape.h"
#include "espalier/prune/unit.h"
#include "espalier/util/registry.h"

namespace espalier {

/// A layer whose units share what is to go.
struct SharingLayer {
  Shape shape;  ///< of its weight, in memory: [O,I] or [O,Kh,Kw,I]
  int64_t units;
  LayerPlace place = {};  ///< for scopes that look at it (Scope::needs_places)
};

struct Scope {
  enum Ranked : uint8_t {
    each_layer,  ///< the units of each layer, or of each group of channels
    all,
    alike,        ///< those of layers, or of groups of channels, that are alike
    each_output,  ///< those between the inputs of a layer and each of its outputs
  };
  std::string name, help;
  std::string paper = {};  ///< authors: title, venue; empty where there is none
  Ranked ranked = each_layer;
  /// The shares that go of each layer where `share` is to go; null: that of each. No layer's falls while
  /// `share` grows, so that what is pruned along a schedule stays pruned. Only where each layer is ranked.
  std::vector<double> (*shares)(const std::vector<SharingLayer>& layers, double share) = nullptr;
  /// As many go, of all layers that share it, as `share` says; else of each what `shares` says.
  bool meets_total = false;
  bool needs_places = false;  ///< `shares` looks at SharingLayer::place

  /// True if no unit is compared with one of another layer.
  bool within_layers() const { return ranked == each_layer || ranked == each_output; }
};

Registry<Scope>& scopes();

/// Why units are not ranked so; empty if they are.
std::string why_not(const Scope& scope, const Unit& unit);

/// For each layer how many of its units go, at least `least` and at most `most` of them, of a scope that
/// meets the total: `total` in all, unless the limits, or the layers that the scope keeps, do not let it.
///
/// They are the scope's shares of the layers' units, rounded, halves away from zero, for a `share` a hair's
/// breadth from that of `total`: the one at which the rounded numbers add up to it. Where several layers
/// would round up at once there, the first do. As shares do not fall, nor does any layer's number as `total`
/// grows.
std::vector<int64_t> apportion(const Scope& scope, const std::vector<SharingLayer>& layers, int64_t total,
                               const std::vector<int64_t>& least, const std::vector<int64_t>& most);

}  // namespace espalier
