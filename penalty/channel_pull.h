// What penalties of channels share: the groups of channels that they act on, and for those that pull at every
// number that goes with a channel by one coefficient per channel: everything except the coefficient.
#pragma once

#include <optional>
#include <vector>

#include "espalier/penalty/channel_maps.h"
#include "espalier/penalty/penalty.h"

namespace espalier {

/// The groups of coupled channels of a network, and which of them may lose some by include and exclude.
class PulledGroups {
 public:
  /// Error for an entry of include or exclude that names no layer. `input` is one image's shape.
  PulledGroups(Module& model, const Shape& input, const PenaltyOptions& options);

  const std::vector<ChannelGroup>& all() const { return groups_; }
  const std::vector<char>& pulled() const { return pulled_; }  ///< for each group, whether it is
  /// Whether channels were cut since they were found: those that are left have other numbers now.
  bool are_stale() const;
  /// Finds them anew if they are stale, and says so.
  bool follow_cuts();

 private:
  void find();

  Module& model_;
  Shape input_;
  std::vector<std::string> include_, exclude_;
  std::vector<ChannelGroup> groups_;
  std::vector<char> pulled_;
};

/// The sum of squares of all that goes with each channel, where the maps are.
class ChannelSquares {
 public:
  explicit ChannelSquares(const ChannelMaps& maps);
  const double* data() const { return static_cast<const double*>(sums_.raw()); }

 private:
  Tensor sums_;  // bytes, for double precision is no dtype of a tensor
};

/// dL/dw += coefficient w, for the weights that make a channel, the weights that read it and the scales of
/// norms.
class ChannelPull : public Penalty {
 public:
  ChannelPull(Module& model, const Shape& input, const PenaltyOptions& options);
  void add_gradients(int64_t step) final;

 protected:
  /// Writes the coefficient of each channel of the maps to `by`, which lies where they do.
  virtual void coefficients(float* by, const ChannelMaps& maps, int64_t step) = 0;
  /// Channels were cut: what was remembered belongs to other channels now.
  virtual void forget_channels() {}
  /// The maps are not those of the last step: channels were cut, or the network computes elsewhere.
  virtual void forget_maps() {}

  const PulledGroups& groups() const { return groups_; }

 private:
  PulledGroups groups_;
  std::optional<ChannelMaps> maps_;  // of the groups that are pulled
};

}  // namespace espalier
