// Pruning as a book, step 4, target: how small a network is wanted, and what a cut would make of it, counted
// without making it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "espalier/channels/surgery.h"
#include "espalier/nn/network.h"
#include "espalier/prune/select.h"

namespace espalier {

/// What a network costs.
struct NetworkCost {
  int64_t macs = 0, parameters = 0;
  int64_t bytes = 0;  ///< of learned numbers and buffers
};

/// Counts it from the graph and the sizes of parameters, less what `cuts` take.
class CostModel {
 public:
  CostModel(Module& model, const Graph& graph);
  NetworkCost after(const std::vector<AxisCut>& cuts) const;

 private:
  struct Size {
    std::string name;
    Shape shape;
    bool learned;
    int64_t element_bytes;
    int64_t macs;  // of all ops that multiply by it
  };
  std::vector<Size> sizes_;
  int64_t macs_of_activations_ = 0;  // of products of two: no cut is known to change them
};

struct Target {
  enum Kind : uint8_t {
    sparsity,    ///< share of the units that a mask drops, in 0..1
    threshold,   ///< what scores below it goes
    quantile,    ///< what scores below this quantile of the scores goes, in 0..1
    ratio,       ///< share of the channels that goes, in 0..1
    speedup,     ///< MACs before over MACs after, at least
    macs,        ///< of one image, at most
    parameters,  ///< at most
    bytes,       ///< at most
    latency_ms,  ///< of one image on this machine, at most
  };
  Kind kind = sparsity;
  double value = 0.0;
  std::optional<double> end = {};  ///< where steps on the way to it end; absent: at the value

  /// It says itself which of the units that are ranked together go.
  bool is_a_cut() const { return kind == threshold || kind == quantile || is_a_share(); }
  bool is_a_share() const { return kind == sparsity || kind == ratio; }
  /// It is of a mask's units: a schedule moves its value.
  bool is_moved() const { return kind == sparsity || kind == threshold || kind == quantile; }
};
const std::vector<std::string>& target_names();
/// UsageError for a share outside 0..1, a speedup below 1, a threshold that is no number, anything else that
/// is not above 0.
void check(const Target& target);
/// Why no selection of such units has that target; empty if one does.
std::string why_not(Target::Kind target, const Unit& unit);
/// Why what has shares of its own in each layer (`whose`: "scope erk") goes with no such target; empty if it
/// does.
std::string why_no_shares(const std::string& whose, Target::Kind target);

/// A network before the first cut of a stage: what speed-up, ratio and least widths refer to.
struct OriginalNetwork : OriginalChannels {
  NetworkCost cost = {};
  /// What had been cut before, of which its shapes can be made again; absent: is not known.
  std::optional<std::vector<AxisCut>> history = {};
  double latency_ms = 0.0;  ///< for that target, part of the way: to be measured by the caller
};
/// The model as it is now; its images are `input` [H,W,C].
OriginalNetwork original_network(Module& model, const Shape& input);

}  // namespace espalier
