// Pruning as a book, step 4 for coupled channels: which go. A scope says which groups are ranked against each
// other, limits what a group may lose, and one number, how many channels of the whole network are wanted
// gone, makes a selection; a target (target.h) is reached by finding the least such number that reaches it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "espalier/prune/graph.h"
#include "espalier/prune/select.h"

namespace espalier {

/// What a group may lose, by the layers that make its channels.
struct ChannelLimits {
  /// Real channels (ChannelGroup::multiplicity) that always stay; absent: 8 or a tenth, whichever is more.
  /// Never under one channel of the group, nor over what there is.
  std::optional<int64_t> min_channels = {};
  double min_ratio = 0.0;  ///< share of the group's channels that goes in any case,
  double max_ratio = 1.0;  ///< and that may go at most
};

struct ChannelOverride {
  std::vector<std::string> layers;  ///< means_layer, names.h
  ChannelLimits limits = {};
};

struct ChannelSelection {
  Scope scope = Scope::global;
  ChannelLimits limits = {};
  /// For groups whose channels one of their layers makes; of several, the last counts.
  std::vector<ChannelOverride> overrides = {};
  /// What stays is rounded down to a multiple of this in real channels, so that a target is still reached;
  /// where that would be under the least width, up.
  int64_t round_to = 1;
  std::vector<std::string> include = {}, exclude = {};  ///< of layers; exclude wins
};

/// [groups][channels], 1 if it stays.
using ChannelVerdicts = std::vector<std::vector<uint8_t>>;

/// For each group 1 if it may lose channels: it is not fixed, a layer that makes its channels is included,
/// and none is excluded. Error for an entry that names no layer that makes channels or, of
/// `include`, of those that make fixed ones alone, and where nothing is left that may go; it begins with the
/// `field` of the config that they stand in.
std::vector<char> groups_that_may_lose(const std::vector<ChannelGroup>& groups,
                                       const std::vector<std::string>& include,
                                       const std::vector<std::string>& exclude,
                                       const std::string& field = "prune");

/// Groups ranked once, from which selections of any size are taken; a larger one holds every smaller one.
class ChannelRanking {
 public:
  /// Scores are score_channels'. `whole` is how many channels each group had in the beginning: counts,
  /// shares and limits are of those. Errors are those of groups_that_may_lose, and for an override that
  /// names no layer that makes channels.
  ChannelRanking(const std::vector<ChannelGroup>& groups, const std::vector<std::vector<float>>& scores,
                 const std::vector<int64_t>& whole, const ChannelSelection& selection);

  /// Channels that are ranked, those of groups that may lose some, with what is gone of them.
  int64_t channels() const { return channels_; }
  /// True for a group that may lose channels.
  bool ranked(size_t group) const { return ranked_groups_[group]; }
  /// The selection of `count` of them, 0 .. channels(), those included that are gone. Of those ranked
  /// together the share count / channels() goes, llround of it in number: in scope layer of each group, in
  /// scope isomorphic of each set of groups whose layers are alike, in scope global of all. The lowest scores
  /// go first, ties by (group, index); a group at its limit keeps the rest, and the next in line goes
  /// instead.
  ChannelVerdicts select(int64_t count) const;

  /// A group that a selection leaves at its limit, in real channels.
  struct Held {
    std::string layer;  ///< the first that makes its channels
    int64_t channels, kept;
    int64_t wanted;  ///< what it would have kept without the limit
  };
  std::vector<Held> held(int64_t count) const;

 private:
  struct Candidate {
    float score;
    int32_t group, channel;
  };
  /// Groups that are ranked against each other.
  struct Class {
    std::vector<Candidate> candidates;  // lowest first
    int64_t whole = 0;                  // channels in the beginning
  };
  struct Limit {
    int64_t least, most;  // channels that stay
    int64_t multiple;     // of which what stays of a group that loses some is one
  };
  void set_limits(const ChannelSelection& selection, const std::vector<int64_t>& whole);
  /// How many of a class go now for a selection of `count`.
  int64_t wanted(const Class& one, int64_t count) const;

  const std::vector<ChannelGroup>& groups_;
  std::vector<char> ranked_groups_;
  int64_t channels_ = 0;
  std::vector<Class> classes_;
  std::vector<Limit> limits_;  // of each group
};

}  // namespace espalier
