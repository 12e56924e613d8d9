// Pruning as a book, explain: what a selection was made of, layer by layer: where the scores lie, where the
// line between what goes and what stays fell, which layers had no part in it, and why.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "espalier/core/tensor.h"
#include "espalier/prune/select.h"

namespace espalier {

/// The scores of one layer's units, or of one group of channels, as they were ranked: divided by a
/// normalizer, where several layers are compared.
struct LayerScores {
  /// Of those that no mask held before; zeros where there are none. The median of an even number is the mean
  /// of the two in the middle.
  double min = 0, median = 0, max = 0;
  /// The highest that went and the lowest that stayed. A limit, a multiple or n of m may have the one above
  /// the other.
  std::optional<double> highest_gone = {}, lowest_kept = {};
  /// Layers with the same number were ranked against each other.
  size_t ranked = 0;
  bool any() const { return highest_gone || lowest_kept; }
};
/// For each group of `units`; `scores` f32 [units.count] of score_units, `kept` u8 [units.count] of
/// `ranking`.
std::vector<LayerScores> layer_scores(const UnitSet& units, const Tensor& scores, const Tensor& kept,
                                      const Ranking& ranking);

/// A layer, or a group of channels by the first layer that makes them, none of whose units may go.
struct LeftOut {
  std::string layer;
  std::string why;  ///< "exclude has 'fc1'", "its filters are the network's output"
};
/// Those that units_of leaves out, of the same arguments, in the network's order. Errors are those of
/// units_of.
std::vector<LeftOut> left_out(Module& model, const Shape& input, const Unit& unit,
                              const std::vector<std::string>& include,
                              const std::vector<std::string>& exclude);

}  // namespace espalier
