// Pruning as a book, step 4, goal: the cut of ranked units that reaches a target, and no larger one than it
// must be.
#pragma once

#include <functional>
#include <optional>

#include "espalier/prune/target.h"

namespace espalier {

/// Milliseconds of one image through the model after cuts.
using LatencyAfter = std::function<double(const std::vector<AxisCut>&)>;

class Goal {
 public:
  /// `progress`, in 0..1, is how far on the way from `original` to the target: the share of channels that
  /// goes, or what is to be saved of MACs, parameters, bytes or time, grows in proportion. `cost` is of the
  /// model now, null for units without a cost of their own; `latency` is for that target. All must outlive
  /// it. UsageError as why_not (target.h).
  Goal(const Target& target, const OriginalNetwork& original, const UnitSet& units, const Ranking& ranking,
       const CostModel* cost, const LatencyAfter& latency, double progress);

  /// Error if no selection reaches the target in the end, whatever progress is now, so that nothing is half
  /// cut.
  void check_reachable() const;
  /// The least that does.
  Cut cut() const;

  /// Where min_ratio takes more of the units that are ranked than a share asks for.
  struct Forced {
    int64_t units, asked;
    int64_t of;  ///< all that are ranked
  };
  /// Absent unless the target is a share.
  std::optional<Forced> forced() const;

 private:
  double quantity(const NetworkCost& cost) const;
  double quantity_after(int64_t count) const;
  Cut cut_of(int64_t count) const;
  int64_t gone(const Cut& cut, bool rounded) const { return ranking_.gone(ranking_.select(cut, rounded)); }
  /// That share; where layers have none of their own, of as many units as it is of all.
  Cut cut_at(double share) const;
  Cut cut_for_share() const;
  int64_t count_of(double ratio) const { return share_count(ratio, ranking_.units()); }
  double best_share() const;
  /// What goes by now; of sparsity whoever has a schedule says it in the target (GradualPruner).
  double share_now() const { return target_.kind == Target::ratio ? last_ * progress_ : target_.value; }

  const Target target_;
  const UnitSet& units_;
  const Ranking& ranking_;
  const CostModel* cost_;
  const LatencyAfter& latency_;
  double first_ = 0, last_ = 0;  // of the quantity: in the original network, in the end
  double progress_;
};

}  // namespace espalier
