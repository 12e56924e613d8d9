// Pruning as a book, step 3 for coupled channels: what a channel is worth that goes with rows and columns of
// several layers. Each member of its group is scored by the criterion, as a unit of its own; the scores of
// the members are reduced to one, and those of a group are normalised, so that groups can be ranked together.
//
// A worked example, l1, reduction mean, normalizer max, a group of two channels:
//   conv.weight, out   rows    1 -2 | 3 0          scores 3 3
//   norm.weight        scales  4    | 1            scores 4 1
//   fc.weight, in      columns 1 1  | 1 -1         scores 2 2
// The means are 3 and 2, and divided by the larger 1 and 2/3. A bias has no say, nor has a norm's shift.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "espalier/prune/criterion.h"
#include "espalier/prune/graph.h"

namespace espalier {

/// How the scores of a channel's members become one.
enum class Reduction : uint8_t { mean, sum, max, first };
const std::vector<std::string>& reduction_names();
Reduction reduction_named(const std::string& name);

struct ChannelScoring {
  Criterion criterion = criterion_named("group_norm");
  Reduction reduction = Reduction::mean;
  Normalizer normalizer = criterion.normalizer;
  uint64_t seed = 0;  ///< of the criterion `random`
};

/// One f32 for each channel of each group, [groups][channels]. Error for a score that is not finite, and for
/// a group none of whose members the criterion looks at, both by the name of the layer that makes it; a group
/// that is `fixed` is not looked at, its scores are 0.
std::vector<std::vector<float>> score_channels(const std::vector<ChannelGroup>& groups,
                                               const ChannelScoring& scoring, const Signals& signals = {});

}  // namespace espalier
