// Pruning as a book, step 4 for coupled channels: which go. A scope says which groups are ranked against each
// other, limits what a group may lose, and one number, how many channels of the whole network are wanted
// gone, makes a selection; a target (target.h) is reached by finding the least such number that reaches it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "espalier/prune/graph.h"
#include "espalier/prune/select.h"

namespace espalier {

/// What a layer that makes channels may lose: each of those that make a group's, together or side by side
/// (Makers).
struct ChannelLimits {
  /// Real channels (ChannelGroup::multiplicity) that always stay; absent: 8 or a tenth, whichever is more.
  /// Never under one channel of the group, nor over what there is.
  std::optional<int64_t> min_channels = {};
  double min_ratio = 0.0;  ///< share of the layer's channels that goes in any case,
  double max_ratio = 1.0;  ///< and that may go at most
};

struct ChannelOverride {
  std::vector<std::string> layers;  ///< means_layer, names.h
  ChannelLimits limits = {};
};

struct ChannelSelection {
  Scope scope = Scope::global;
  ChannelLimits limits = {};
  /// For the layers that they name, and those that make the same channels; of several, the last counts.
  std::vector<ChannelOverride> overrides = {};
  /// What stays of each layer of a group that loses channels is rounded down to a multiple of this in real
  /// channels, so that a target is still reached; where that would be under a least width, up.
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
  /// Scores are score_channels'. `whole` is how many channels each group had in the beginning, and
  /// `whole_parts` each first of the Makers that make some of a group's (absent: as many as now): counts,
  /// shares and limits are of those. Errors are those of groups_that_may_lose, and for an override that
  /// names no layer that makes channels.
  ChannelRanking(const std::vector<ChannelGroup>& groups, const std::vector<std::vector<float>>& scores,
                 const std::vector<int64_t>& whole, const ChannelSelection& selection,
                 const std::map<std::string, int64_t>& whole_parts = {});

  /// Channels that are ranked, those of groups that may lose some, with what is gone of them.
  int64_t channels() const { return channels_; }
  /// True for a group that may lose channels.
  bool ranked(size_t group) const { return ranked_groups_[group]; }
  /// The selection of `count` of them, 0 .. channels(), those included that are gone. Of those ranked
  /// together the share count / channels() goes, llround of it in number: in scope layer of each group, in
  /// scope isomorphic of each set of groups whose layers are alike, in scope global of all. First, and as
  /// part of that share, goes what min_ratio takes in any case, be it more; then the lowest scores, ties by
  /// (group, index); where a layer is at its limit the rest stays, and the next in line goes instead. Of no
  /// layer all go, nor all that one reads. Not `rounded`, round_to takes nothing on top.
  ChannelVerdicts select(int64_t count, bool rounded = true) const;
  /// How many channels are gone then, of those that are ranked.
  int64_t gone(const ChannelVerdicts& kept) const;

  /// A layer that a selection leaves at its limit, in real channels.
  struct Held {
    std::string layer;  ///< the first that makes its channels
    int64_t channels;   ///< in the beginning
    int64_t kept;
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
  /// Channels of a group that layers make or read: all, or some.
  struct Part {
    size_t group;
    std::vector<char> has;  // by channel
    int64_t channels;
    int64_t whole = channels;            // in the beginning
    int64_t least = 1, most = channels;  // that stay
    int64_t multiple = 1;                // of which what stays is one; 1 for what is read alone
    std::string maker = {};              // the first; none of what is read alone
    int64_t multiplicity = 1;            // real channels of the maker
  };
  /// Channels that the same layers make are rounded together: so whatever makes several such sets is, too.
  struct Rounded {
    int64_t multiple = 1;
    std::vector<Candidate> candidates = {};  // lowest first
  };
  /// A selection on its way.
  class Dropping;
  void add_parts(size_t group, const ChannelSelection& selection, int64_t whole,
                 const std::map<std::string, int64_t>& whole_parts);
  /// How many of a class go now for a selection of `count`.
  int64_t wanted(const Class& one, int64_t count) const;
  /// A selection that is not rounded; without `limits`, nothing is held.
  Dropping choose(int64_t count, bool limits) const;
  void add_rounded();
  static void round(const Rounded& set, Dropping& selection);

  const std::vector<ChannelGroup>& groups_;
  std::vector<char> ranked_groups_;
  int64_t channels_ = 0;
  std::vector<Class> classes_;
  std::vector<Part> parts_;                                 // of groups that are ranked
  std::vector<std::vector<std::vector<size_t>>> parts_of_;  // [group][channel], numbers in parts_
  std::vector<Rounded> rounded_;
};

}  // namespace espalier
