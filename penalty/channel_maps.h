// Which numbers go with which channels, as index maps that lie where the network computes, so that a penalty
// of channels is a few kernels a step and the host waits for none.
#pragma once

#include <cstdint>
#include <vector>

#include "espalier/channels/graph.h"
#include "espalier/core/kernels.h"

namespace espalier {

/// Channels of several groups, numbered through, and the indices that stand for them along the axes of the
/// weights and scales that go with them. All those axes, end to end, are one line: an index along an axis is
/// a place in it. Parameters without a gradient are left out.
struct ChannelMaps {
  /// Of the `groups` for which `which` is not 0.
  ChannelMaps(const std::vector<ChannelGroup>& groups, const std::vector<char>& which);

  /// True for a member that has a say: a weight or a scale that has a gradient.
  static bool concerns(const GroupMember& member);
  /// True while the same members concern, in groups of the same numbers.
  bool fits(const std::vector<ChannelGroup>& groups, const std::vector<char>& which) const;

  struct Line {
    Parameter* parameter;
    AxesShape shape;
    int64_t out, in;  ///< the places where its first axis and its last begin; in is -1 for a vector
  };
  std::vector<Line> parameters;
  int64_t channels = 0, places = 0, groups = 0;
  std::vector<int64_t> first;  ///< of each group of the network, its first channel's number; -1: left out
  Device device = Device::cpu;
  // On the device, i32:
  Tensor group_begin;                  ///< [groups+1]: the channels of each group
  Tensor members;                      ///< [channels]: members that have the channel
  Tensor places_begin, places_of;      ///< [channels+1] and the places of each channel, by member
  Tensor channels_begin, channels_of;  ///< [places+1] and the channels of each place, by group

 private:
  std::vector<const Parameter*> concerned_;  // of each member in turn
};

}  // namespace espalier
