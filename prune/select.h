// Pruning as a book, step 4, select: which units go. The scope (scope.h) says which are ranked against each
// other, limits what a layer may lose, and a cut how many of them go; a target (target.h) is reached by
// finding the cut that does. Nothing here looks at a weight: scores in, verdicts out.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "espalier/core/tensor.h"
#include "espalier/prune/scope.h"
#include "espalier/prune/unit.h"

namespace espalier {

/// How many go, of N units ranked together.
struct Cut {
  enum Rule : uint8_t {
    share,      ///< the share_count(value, N) lowest; `value` in 0..1
    threshold,  ///< those that score below `value`
    quantile,   ///< those that score below the `value`-quantile of the N scores; `value` in 0..1
  };
  Rule rule = share;
  double value = 0.0;
};
/// llround(share n): how many of n units go. Halves round away from zero.
int64_t share_count(double share, int64_t n);

/// What a layer may lose; of channels, each of those that make a group's, together or side by side (Makers).
struct Limits {
  /// Units that always stay; of channels, real ones (ChannelGroup::multiplicity). Absent: 0; of channels 8 or
  /// a tenth, whichever is more, and never under one channel of the group, nor over what there is.
  std::optional<int64_t> min_channels = {};
  double min_ratio = 0.0;  ///< share of the layer's units that goes in any case,
  double max_ratio = 1.0;  ///< and that may go at most
};

struct LimitsOfLayers {
  std::vector<std::string> layers;  ///< means_layer, names.h
  Limits limits = {};
};

/// By names of layers (means_layer, names.h); of several that mean a layer, the last counts.
using SharesOfLayers = std::vector<std::pair<std::string, double>>;

struct Selection {
  Scope scope = scopes().named("global");
  Limits limits = {};
  /// For the layers that they name, and those that make the same channels; of several, the last counts.
  std::vector<LimitsOfLayers> overrides = {};
  /// What stays of each layer that loses units is rounded down to a multiple of this, of channels in real
  /// ones, so that a target is still reached; where that would be under a least width, up.
  int64_t round_to = 1;
  /// Shares of some layers' own, of which as much goes whatever a cut says, and which have no part in what
  /// the others share. Only of masks, and where each layer is ranked.
  SharesOfLayers shares_of = {};
};
/// Why layers have no shares of their own; empty if they may.
std::string why_no_shares_of(const Scope& scope, const Unit& unit);
/// Why a share cannot be of what remains; empty if it may.
std::string why_not_remaining(const Scope& scope);
/// Why layers cannot be held to a least or a largest share; empty if they may.
std::string why_no_limits(const Scope& scope);

/// How many channels each group had in the beginning, by the first layer that makes them; and of layers that
/// make some of a group's, by the first of them (Makers). Empty: as many as now.
struct OriginalChannels {
  std::map<std::string, int64_t> channels = {}, parts = {};
  /// By layer how many of its units were pruned before, where a share is of those that were left; of the
  /// others none.
  std::map<std::string, int64_t> gone = {};
};

/// Units ranked once, from which selections of any size are taken; a larger one holds every smaller one. A
/// selection is for each unit 1 if it stays and 0 if it goes, u8 [units.count]. Among equal scores the lower
/// (group, index) goes first, so counts are exact. Units pruned before (pruned_score) count among the N and
/// go again whatever the cut. Where the scope gives each layer a share of its own, a cut is by share.
class Ranking {
 public:
  /// `scores` [units.count] of score_units. Counts, shares and limits are of the units of `original`.
  /// UsageError as why_not, why_no_shares_of, why_not_remaining and why_no_limits, Error for an override or a
  /// share that names no layer that the units are of. All must outlive it.
  Ranking(const UnitSet& units, const Tensor& scores, const Selection& selection,
          const OriginalChannels& original = {});

  /// Units that are ranked, with what is cut of them since the beginning.
  int64_t units() const { return units_of_all_; }
  /// Of those ranked together go what the cut says: first, and as part of a share, what min_ratio takes of
  /// each layer; then the lowest, but none that a limit holds: of a share the next in line go instead, of a
  /// threshold and of a quantile none. Each layer's selection is rounded if `rounded`.
  ///
  /// A quantile is numpy's default: linear between the scores at ranks floor and ceil of value (N - 1), from
  /// 0. As only units strictly below it go, it cuts where the score at the upper rank does; the highest
  /// always stay. Of n:m, the n highest of each m stay, and the cut has no say.
  Tensor select(const Cut& cut, bool rounded = true) const;
  /// Units that a selection leaves out, with what is cut since the beginning.
  int64_t gone(const Tensor& kept) const;
  /// How many units a share asks for, whatever holds them: of all, or of each layer as its scope says.
  int64_t asked(double share) const;
  /// Whether layers have shares of their own, be it by the scope or by name, or a share is of what was left.
  bool differs_by_layer() const { return differs_; }
  const Scope& scope() const { return scope_; }
  /// True if a limit or a multiple may keep a selection from what a cut says.
  bool limited() const { return limited_; }
  /// True if a share may be more than what limits, or the scope itself, let go.
  bool may_fall_short() const { return limited_ || scope_.meets_total; }
  /// True if what stays of some layer is a multiple of more than 1.
  bool rounds() const { return !rounded_.empty(); }
  /// Groups with the same number are ranked against each other; where each output is, the number of the
  /// layer's first.
  size_t class_of(size_t group) const;
  /// For each group how many units it had in the beginning.
  int64_t original(size_t group) const { return originals_[group]; }

  /// A layer whose limit held in a selection.
  struct Held {
    std::string layer;  ///< the first that makes these units
    int64_t units;      ///< in the beginning; of channels real ones, as are:
    int64_t kept;       ///< by the limit
    int64_t wanted;     ///< what it would have kept without the limit
  };
  std::vector<Held> held(const Cut& cut) const;

 private:
  struct Candidate {
    float score;
    int32_t group, unit;
  };
  /// Some units of a group, or all.
  struct Range {
    size_t group;
    int64_t first, count;  // from 0 within the group
  };
  /// Units that are ranked against each other.
  struct Class {
    std::vector<Range> ranges;
    int64_t original = 0;  // units in the beginning
    int64_t now = 0;
    int64_t gone = 0;                   // of them, what no share counts
    std::optional<double> own = {};     // share of this layer's own
    std::vector<Candidate> candidates;  // lowest first; none where nothing limits a selection
  };
  /// Units of a group that layers make or read: all, or some.
  struct Part {
    size_t group;
    std::vector<char> has;  // by unit; empty: all
    int64_t units;
    int64_t original = units;                // in the beginning
    int64_t min_left = 0, max_left = units;  // that stay
    int64_t multiple = 1;                    // of which what stays is one; 1 for what is only read
    std::string maker = {};                  // the first; none of what is only read
    int64_t multiplicity = 1;                // real channels of the maker
  };
  /// Units that the same layers make are rounded together: so whatever makes several such sets is, too.
  struct Rounded {
    int64_t multiple = 1;
    std::vector<Candidate> candidates = {};  // lowest first
  };
  /// A selection on its way.
  class Dropping;
  void add_parts(size_t group, const Selection& selection, const OriginalChannels& original);
  void add_part(Part part, const std::vector<std::string>& layers, const Selection& selection);
  void add_candidates(Class& one) const;
  void add_rounded();
  const std::vector<size_t>& parts_of(const Candidate& c) const;
  /// How many of each class go by a share, of those in the beginning; without `limits`, nothing is held. Of
  /// other cuts nothing is said.
  std::vector<int64_t> counts_of(const Cut& cut, bool limits) const;
  void share_out(double share, bool limits, std::vector<int64_t>& counts) const;
  /// The score below which a threshold or a quantile drops what it may.
  static float bound_of(const Class& one, const Cut& cut);
  /// A selection that is not rounded; without `limits`, nothing is held.
  Dropping choose(const Cut& cut, bool limits) const;
  Tensor select_without_limits(const Cut& cut) const;
  static void round(const Rounded& set, Dropping& selection);

  const UnitSet& units_;
  const Tensor scores_;
  const Scope scope_;
  std::vector<int64_t> originals_;  // of each group
  int64_t units_of_all_ = 0;
  std::vector<Class> classes_;
  std::vector<Part> parts_;
  std::vector<std::vector<std::vector<size_t>>>
      parts_of_;  // [group][unit], or [group][0] where all have the same
  std::vector<Rounded> rounded_;
  bool limited_ = false, differs_ = false;
};

}  // namespace espalier
