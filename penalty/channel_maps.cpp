#include "espalier/penalty/channel_maps.h"

#include <map>

namespace espalier {
namespace {

/// Lists of numbers end to end, with where each begins.
struct Lists {
  explicit Lists(const std::vector<std::vector<int32_t>>& lists) {
    for (const auto& list : lists) {
      all.insert(all.end(), list.begin(), list.end());
      begin.push_back(static_cast<int32_t>(all.size()));
    }
  }
  std::vector<int32_t> begin{0}, all;
};

Tensor i32(const std::vector<int32_t>& numbers, Device device) {
  return Tensor::from({static_cast<int64_t>(numbers.size())}, numbers, device);
}

/// The parameters of all members that concern, one after another.
std::vector<const Parameter*> concerned(const std::vector<ChannelGroup>& groups,
                                        const std::vector<char>& which) {
  std::vector<const Parameter*> all;
  for (size_t g = 0; g < groups.size(); ++g)
    if (which[g])
      for (const GroupMember& member : groups[g].members)
        if (ChannelMaps::concerns(member)) all.push_back(member.parameter);
  return all;
}

}  // namespace

bool ChannelMaps::concerns(const GroupMember& member) {
  const Role role = member.parameter->role;
  return (role == Role::scale || role == Role::weight) && member.parameter->gradient().defined();
}

bool ChannelMaps::fits(const std::vector<ChannelGroup>& groups, const std::vector<char>& which) const {
  return concerned(groups, which) == concerned_ &&
         (concerned_.empty() || concerned_.front()->value().device() == device);
}

ChannelMaps::ChannelMaps(const std::vector<ChannelGroup>& of, const std::vector<char>& which)
    : first(of.size(), -1), concerned_(concerned(of, which)) {
  if (!concerned_.empty()) device = concerned_.front()->value().device();
  std::map<const Parameter*, size_t> lines;
  std::vector<std::vector<int32_t>> places_of_channel, channels_of_place;
  std::vector<int32_t> members_of_channel, begin_of_group{0};
  for (size_t g = 0; g < of.size(); ++g) {
    if (!which[g]) continue;
    const ChannelGroup& group = of[g];
    first[g] = channels;
    channels += group.channels;
    begin_of_group.push_back(static_cast<int32_t>(channels));
    ++groups;
    places_of_channel.resize(static_cast<size_t>(channels));
    members_of_channel.resize(static_cast<size_t>(channels));
    for (const GroupMember& member : group.members) {
      if (!concerns(member)) continue;
      const auto [found, fresh] = lines.try_emplace(member.parameter, parameters.size());
      if (fresh) {
        const Shape& shape = member.parameter->shape();
        const bool vector = shape.axes() == 1;
        const int64_t rows = shape[0], columns = vector ? 1 : shape[-1];
        parameters.push_back({.parameter = member.parameter,
                              .shape = {rows, shape.elements() / (rows * columns), columns},
                              .out = places,
                              .in = vector ? -1 : places + rows});
        places += vector ? rows : rows + columns;
        channels_of_place.resize(static_cast<size_t>(places));
      }
      const Line& line = parameters[found->second];
      std::vector<char> has(static_cast<size_t>(group.channels));  // with one index or several
      for (size_t i = 0; i < member.channel_of.size(); ++i) {
        if (member.channel_of[i] < 0) continue;
        const auto channel = static_cast<size_t>(first[g] + member.channel_of[i]);
        const auto place = static_cast<size_t>(member.axis == 0 ? line.out : line.in) + i;
        places_of_channel[channel].push_back(static_cast<int32_t>(place));
        channels_of_place[place].push_back(static_cast<int32_t>(channel));
        has[static_cast<size_t>(member.channel_of[i])] = 1;
      }
      for (size_t c = 0; c < has.size(); ++c) members_of_channel[static_cast<size_t>(first[g]) + c] += has[c];
    }
  }
  group_begin = i32(begin_of_group, device);
  members = i32(members_of_channel, device);
  const Lists by_channel(places_of_channel), by_place(channels_of_place);
  places_begin = i32(by_channel.begin, device);
  places_of = i32(by_channel.all, device);
  channels_begin = i32(by_place.begin, device);
  channels_of = i32(by_place.all, device);
}

}  // namespace espalier
