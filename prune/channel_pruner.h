// Pruning as a book, the pruner of coupled channels: groups, scores, a selection that reaches the target,
// constants folded into what follows, surgery. The network that is left is dense, smaller, and goes on
// training with all it had.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "espalier/prune/channel_score.h"
#include "espalier/prune/channel_select.h"
#include "espalier/prune/surgery.h"
#include "espalier/prune/target.h"

namespace espalier {

struct ChannelPruneOptions {
  ChannelScoring scoring = {};
  ChannelSelection selection = {};
  Target target = {};
  /// In how many cuts the target is reached. After each, what is left is scored anew: the columns that read a
  /// channel are gone with it.
  int64_t iterations = 1;
  /// What criteria that look at data see; asked before each cut, not at all by those that look at weights
  /// alone.
  std::function<Signals(Looks)> signals = {};
  /// Milliseconds of one image through the model after cuts, for the target latency_ms.
  std::function<double(const std::vector<AxisCut>&)> latency_ms = {};
  /// Called before each cut; what it throws ends them all, and the model is as it was.
  std::function<void()> before_cut = {};
  /// A batch [N,H,W,C]: if defined, each cut is proved on it (CutProof), and what is left counted again.
  Tensor verify = {};
};

/// That a cut is right: the network with the channels zeroed (zero_channels) and the one without them, their
/// constants folded, on the same images, in inference. Where the first says the same of every image, as one
/// does whose norms' running statistics are still those of the whole network, any other as dead would agree
/// with it: both are compared by the statistics of the images instead.
struct CutProof {
  double largest_difference = 0.0;  ///< of any logit,
  double largest_output = 0.0;      ///< beside the largest logit;
  double spread = 0.0;              ///< how far apart a logit's values for two images are, at most
  bool by_the_batch = false;        ///< by the images' statistics
  /// Whether images are told apart.
  bool says_something() const { return spread > 1e-3 * largest_output; }
  double share() const { return largest_difference == 0 ? 0.0 : largest_difference / largest_output; }
  /// Kernels round differently for other widths, by some 1e-6 a layer.
  bool holds() const { return share() <= 1e-2; }
};

/// What a prune of channels did.
struct ChannelPruneResult {
  struct Group {
    std::string layer;      ///< the first that makes its channels
    int64_t before, after;  ///< real channels
  };
  std::vector<Group> groups = {};          ///< those that may lose channels
  std::vector<ChannelRanking::Held> held;  ///< in the last cut or in one before it
  /// Where min_ratio takes more of the channels that are ranked than the target `ratio` asks for.
  struct Forced {
    int64_t channels, asked;
    int64_t of;  ///< all that are ranked
  };
  std::optional<Forced> forced = {};
  NetworkCost before, after;           ///< before: the whole network's
  std::vector<AxisCut> cuts;           ///< to be added to the model's history
  double latency_ms = 0.0;             ///< after, if that is the target; else the caller may measure it, and
  double latency_before_ms = 0.0;      ///< with it, in turns, the whole network's; 0: is the same or unknown
  std::optional<CutProof> proof = {};  ///< of several cuts, the one that differs most

  double speedup() const { return static_cast<double>(before.macs) / static_cast<double>(after.macs); }
  double latency_speedup() const { return latency_before_ms > 0 ? latency_before_ms / latency_ms : 1.0; }
};

/// A network before the first cut of a stage: what speed-up, ratio and least widths refer to.
struct WholeNetwork {
  NetworkCost cost;
  std::map<std::string, int64_t> channels;  ///< of each group, by the first layer that makes them
  std::map<std::string, int64_t> parts =
      {};  ///< of layers that make some of a group's, by the first (Makers)
  /// What had been cut before, of which its shapes can be made again; absent: is not known.
  std::optional<std::vector<AxisCut>> history = {};
  double latency_ms = 0.0;  ///< for that target, part of the way: to be measured by the caller
};
/// The model as it is now; its images are `input` [H,W,C].
WholeNetwork whole_network(Module& model, const Shape& input);

/// Error for whatever prune_channels would stumble on but the scores' values: layers that the model lacks, a
/// criterion that finds nothing to look at and, if `reachable`, a target that is not.
void check_prune_channels(Module& model, const Shape& input, const ChannelPruneOptions& options,
                          bool reachable = true);

/// Prunes the model, whose images are `input` [H,W,C], so far on the way from `whole` to the target as
/// `progress`, in 0..1, says: the share of channels that goes, or what is to be saved of MACs, parameters,
/// bytes or time, grows in proportion. Error if the target cannot be reached, with how far one would get;
/// then, as after any other error, the model is as it was.
ChannelPruneResult prune_channels(Module& model, const Shape& input, const WholeNetwork& whole,
                                  const ChannelPruneOptions& options, double progress = 1.0);

}  // namespace espalier
