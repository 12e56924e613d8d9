// Pruning as a book, step 3: a score for each unit. Each parameter that goes with a unit is scored by the
// criterion, the numbers that it has of the unit as one; where there are several, as of a coupled channel,
// their scores are reduced to one. Those of a layer or of a group of channels are normalised, so that several
// can be ranked together.
//
// A worked example, l1, reduction mean, normalizer max, a group of two channels:
//   conv.weight, out   rows    1 -2 | 3 0          scores 3 3
//   norm.weight        scales  4    | 1            scores 4 1
//   fc.weight, in      columns 1 1  | 1 -1         scores 2 2
// The means are 3 and 2, and divided by the larger 1 and 2/3. A bias is not scored, nor is a norm's shift.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "espalier/prune/criterion.h"
#include "espalier/prune/signals.h"
#include "espalier/prune/unit.h"

namespace espalier {

/// How the scores of the parameters that go with a channel become one.
enum class Reduction : uint8_t { mean, sum, max, first };
const std::vector<std::string>& reduction_names();
Reduction reduction_named(const std::string& name);

struct Scoring {
  Criterion criterion = criteria().named("l1");
  Reduction reduction = Reduction::mean;
  std::optional<Normalizer> normalizer = {};  ///< absent: the criterion's
  uint64_t seed = 0;                          ///< of the criterion `random`
  bool gives_back = false;                    ///< what is pruned is scored like all others
};

/// True if a mask holds at zero all that is learned of a unit; for each unit of the group.
std::vector<char> pruned_units(const UnitGroup& group);

/// A score for each unit, f32 [units.count] on the CPU, where weights are brought to be scored; pruned_score
/// for those pruned before. Those of a group are divided by its normalizer if `compared`: with others'. Error
/// for a score that is not finite: such weights have no order. Errors as check_scoring.
Tensor score_units(const UnitSet& units, const Scoring& scoring, const Signals& signals = {},
                   bool compared = false);

/// UsageError for a criterion that says nothing of such units (why_not); Error for a unit none of whose
/// parameters it scores, by the name of the layer that makes it.
void check_scoring(const UnitSet& units, const Scoring& scoring);

}  // namespace espalier
