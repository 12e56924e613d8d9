// Pruning as a book, the pruner: ties the steps together. What it does is in its options, never in a
// subclass.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "espalier/nn/module.h"
#include "espalier/prune/criterion.h"
#include "espalier/prune/schedule.h"
#include "espalier/prune/select.h"
#include "espalier/prune/unit.h"

namespace espalier {

struct PruneOptions {
  Unit unit = Unit::weight;
  Criterion criterion = criterion_named("l1");
  Scope scope = Scope::global;
  Cut cut = {};
  std::vector<std::string> include = {}, exclude = {};  ///< of layers, see prunable_weights
  /// Layers that make the network's output (output_layers in graph.h), a row of which is an answer. Their
  /// rows stay unless an entry of `include` that is no pattern means the layer.
  std::vector<std::string> output = {};
  /// What the scores of a layer's rows are divided by where those of all layers are ranked; absent: the
  /// criterion's. Weights are ranked as they are.
  std::optional<Normalizer> normalizer = {};
  bool allow_empty = false;  ///< a selection may leave nothing of a layer, which else is an Error
  uint64_t seed = 0;         ///< of the criterion `random`
};

/// What a prune did, in units.
struct PruneResult {
  struct Layer {
    std::string name;
    int64_t units;
    int64_t pruned;   ///< of them, by now
    int64_t already;  ///< of the pruned, before this prune
  };
  std::vector<Layer> layers;

  Layer total() const;  ///< named "total"
};

/// Error for whatever prune would stumble on but the scores' values: layers that the model lacks, and counts
/// that leave nothing of a layer.
void check_prune(Module& model, const PruneOptions& options);

/// Prunes the model at once: units, scores, selection, masks. Errors are those of prunable_weights,
/// score_units and select, and for a selection that leaves nothing of a layer; then the model is as it was.
PruneResult prune(Module& model, const PruneOptions& options);

/// Prunes while a network trains, on a schedule. It keeps no state: what is pruned is in the masks, so a run
/// resumes by their being loaded.
class GradualPruner {
 public:
  /// options.cut is where the schedule ends. UsageError as check() of the one or the other.
  GradualPruner(PruneOptions options, const Schedule& schedule);
  /// To be called after each optimizer step, `step` counting from 0: prunes if the schedule acts then, and
  /// says what it did.
  std::optional<PruneResult> step(Module& model, int64_t step) const;
  const Schedule& schedule() const { return schedule_; }

 private:
  PruneOptions options_;
  Schedule schedule_;
};

}  // namespace espalier
