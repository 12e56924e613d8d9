// Pruning as a book, the pruner: ties the steps together. What it does is in its options, never in a
// subclass.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "espalier/prune/explain.h"
#include "espalier/prune/goal.h"
#include "espalier/prune/proof.h"
#include "espalier/prune/schedule.h"
#include "espalier/prune/score.h"

namespace espalier {

/// What becomes of what goes.
enum class Apply : uint8_t {
  zero,  ///< it is masked: zero, and held there
  cut,   ///< it is taken out of the network; channels only, which nothing else reads
};
const std::vector<std::string>& apply_names();
Apply apply_named(const std::string& name);
/// Why such units are not applied so; empty if they are.
std::string why_not(Apply apply, const Unit& unit);

/// What a sparsity is a share of.
enum class Of : uint8_t {
  original,   ///< all units, whatever is pruned already
  remaining,  ///< those that are not pruned yet, as it finds them
};
const std::vector<std::string>& of_names();
Of of_named(const std::string& name);

struct PruneOptions {
  Unit unit = Unit::weight;
  Scoring scoring = {};
  Selection selection = {};
  Target target = {};
  Of of = Of::original;                                 ///< only a sparsity may be of what remains
  std::vector<std::string> include = {}, exclude = {};  ///< of layers, see units_of
  Apply apply = Apply::zero;
  /// What goes is held at zero by a mask; else it is only set to zero, and may come back.
  bool hold = true;
  bool allow_empty = false;  ///< a selection may leave nothing of a layer, which else is an Error
  /// In how many selections the target is reached. After each, what is left is scored anew: the columns that
  /// read a channel are gone with it. The i-th of n comes to i / n of the way; of what remains the same share
  /// goes each time, so that 1 - (1 - s)^(i / n) is gone.
  int64_t iterations = 1;
  bool geometric = false;  ///< of sparsity in iterations, each takes the same share of what is left
  /// What criteria see that need more than weights; asked before each selection.
  std::function<Signals(const Criterion&)> signals = {};
  LatencyAfter latency_ms = {};  ///< for that target
  /// Called before each selection; what it throws ends them all, and the model is as it was.
  std::function<void()> before_each = {};
  /// A batch [N,H,W,C]: if defined, each cut is proved on it (proof.h), and what is left counted again.
  Tensor verify = {};
  bool explain = false;  ///< the result says where the scores lie
};

/// Why these cannot prune little by little, in iterations or along a schedule; empty if they can.
std::string why_not_in_steps(const PruneOptions& options);
/// Why a pruner with these does not act along such a schedule; empty if it does. UsageError for a type that
/// is not known.
std::string why_not(const PruneOptions& options, const Schedule& schedule);
/// Why a criterion's units are not ranked so; empty if they are.
std::string why_not(const Criterion& criterion, const Scope& scope);
/// Why such units are not zeroed without being held; empty if they may.
std::string why_not_loose(const Unit& unit);

/// What a prune did.
struct PruneResult {
  struct Layer {
    std::string name;  ///< of the layer, or of the first that makes the channels
    int64_t units;     ///< in the original network; of channels real ones, as are:
    int64_t pruned;    ///< of them, by now
    int64_t already;   ///< of the pruned, before this prune
    int64_t left() const { return units - pruned; }
  };
  std::vector<Layer> layers = {};           ///< those that may lose units
  std::vector<LayerScores> scores = {};     ///< of each, in the last selection; with PruneOptions::explain,
  bool compared = false;                    ///< as is this: they were divided by a normalizer
  std::vector<Ranking::Held> held = {};     ///< in the last selection or in one before it
  std::optional<Goal::Forced> forced = {};  ///< by min_ratio
  bool let_go = false;                      ///< nothing was pruned, but all that was is free again

  // Of channels:
  NetworkCost before = {},
              after = {};          ///< before: the original network's; after: as if cut, where they are not
  std::vector<AxisCut> cuts = {};  ///< to be added to the model's history
  double latency_ms = 0.0;         ///< after, if that is the target; else the caller may measure it, and
  double latency_before_ms = 0.0;  ///< with it, in turns, the original network's; 0: is the same or unknown
  std::optional<CutProof> proof = {};  ///< of several cuts, the one that differs most

  Layer total() const;  ///< named "total"
  double speedup() const { return static_cast<double>(before.macs) / static_cast<double>(after.macs); }
  double latency_speedup() const { return latency_before_ms > 0 ? latency_before_ms / latency_ms : 1.0; }
};

/// Error for whatever prune would stumble on but the scores' values: layers that the model lacks, options
/// that do not go together, a criterion that finds nothing to look at, counts that leave nothing of a layer
/// and, if `reachable`, a target that is not reached. Images are `input` [H,W,C].
void check_prune(Module& model, const Shape& input, const PruneOptions& options, bool reachable = true);

/// What a prune of masks will leave of the layers of which its target says it, whatever the scores are: each
/// is ranked by itself, and a share of it goes. `pruned`: in the end, by the target and its limits. Errors
/// are those of check_prune, but that layers may be emptied.
std::vector<PruneResult::Layer> foreseen_layers(Module& model, const Shape& input,
                                                const PruneOptions& options);

/// Prunes the model, whose images are `input` [H,W,C], so far on the way from `original` to the target as
/// `progress`, in 0..1, says (Goal), min_ratio included. Error if the target cannot be reached, with how far
/// one would get, or a selection leaves nothing of a layer; then, as after any other error, the model is as
/// it was.
PruneResult prune(Module& model, const Shape& input, const OriginalNetwork& original,
                  const PruneOptions& options, double progress = 1.0);
/// The same from the model as it is now.
PruneResult prune(Module& model, const Shape& input, const PruneOptions& options);

/// Prunes while a network trains, on a schedule. It keeps no state: what is pruned is in the masks and the
/// network's shapes, so a run resumes by their being loaded.
class GradualPruner {
 public:
  /// options.target is where the schedule ends, and what its last act leaves is held, whatever options.hold
  /// says. UsageError as check() of the one or the other, or as why_not().
  GradualPruner(PruneOptions options, const Schedule& schedule);
  /// To be called after each optimizer step, `step` counting from 0: prunes if the schedule acts then, or
  /// lets go of what it has pruned, and says what it did. `original`: the model before the first; of
  /// channels, and looked at for nothing else.
  std::optional<PruneResult> step(Module& model, const Shape& input, const OriginalNetwork& original,
                                  int64_t step) const;
  const Schedule& schedule() const { return schedule_; }

 private:
  PruneOptions options_;
  Schedule schedule_;
};

}  // namespace espalier
