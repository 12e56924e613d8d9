// Pruning as a book, step 4, target: how small a network is wanted, and what a cut would make of it, counted
// without making it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "espalier/nn/network.h"
#include "espalier/prune/surgery.h"

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
    ratio,       ///< share of the channels that goes, in 0..1
    speedup,     ///< MACs before over MACs after, at least
    macs,        ///< of one image, at most
    parameters,  ///< at most
    bytes,       ///< at most
    latency_ms,  ///< of one image on this machine, at most
  };
  Kind kind = ratio;
  double value = 0.0;
};
const std::vector<std::string>& target_names();
/// UsageError for a ratio outside 0..1, a speedup below 1, anything else that is not above 0.
void check(const Target& target);

}  // namespace espalier
