#include "espalier/prune/channel_select.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <tuple>

#include "espalier/core/error.h"
#include "espalier/prune/names.h"

namespace espalier {
namespace {

/// True if one of `entries` means a layer that makes the group's channels.
bool any_means_a_maker(const std::vector<std::string>& entries, const ChannelGroup& group) {
  return std::ranges::any_of(makers_of(group),
                             [&](const std::string& layer) { return any_means_layer(entries, layer); });
}

/// All layers that make channels.
std::vector<std::string> makers_of(const std::vector<ChannelGroup>& groups) {
  std::vector<std::string> makers;
  for (const ChannelGroup& group : groups)
    for (std::string& name : makers_of(group)) makers.push_back(std::move(name));
  return makers;
}

/// What groups must have in common to be ranked together in scope isomorphic: the same ops at the same
/// places, which is to say the same sides of parameters of the same rank and kernel.
using Likeness = std::vector<std::tuple<bool, Role, std::vector<int64_t>>>;
Likeness likeness(const ChannelGroup& group) {
  Likeness like;
  for (const GroupMember& member : group.members) {
    const Shape& shape = member.parameter->shape();
    std::vector<int64_t> kernel;
    for (int i = 1; i + 1 < shape.axes(); ++i) kernel.push_back(shape[i]);
    kernel.push_back(shape.axes());
    like.emplace_back(member.out, member.parameter->role, kernel);
  }
  return like;
}

int64_t divided_up(int64_t n, int64_t by) { return (n + by - 1) / by; }
int64_t rounded_down(int64_t n, int64_t multiple) { return n / multiple * multiple; }
int64_t rounded_up(int64_t n, int64_t multiple) { return divided_up(n, multiple) * multiple; }

}  // namespace

std::vector<char> groups_that_may_lose(const std::vector<ChannelGroup>& groups,
                                       const std::vector<std::string>& include,
                                       const std::vector<std::string>& exclude,
                                       const std::string& field) {
  check_layer_entries(field + ": include", include, makers_of(groups));
  check_layer_entries(field + ": exclude", exclude, makers_of(groups));
  std::vector<char> may;
  for (const ChannelGroup& group : groups) {
    const bool included = include.empty() || any_means_a_maker(include, group);
    may.push_back(group.fixed.empty() && included && !any_means_a_maker(exclude, group));
  }
  for (const std::string& entry : include) {
    std::string fixed;
    for (size_t g = 0; g < groups.size() && fixed != "none"; ++g)
      if (any_means_a_maker({entry}, groups[g])) fixed = may[g] ? "none" : groups[g].fixed;
    ESP_CHECK(fixed.empty() || fixed == "none", field, ": include '", entry, "': its channels are ", fixed,
              " and stay");
  }
  ESP_CHECK(std::ranges::count(may, 1) > 0, field,
            ": no channels may go: all but the network's input and output are left out by include and exclude");
  return may;
}

void ChannelRanking::set_limits(const ChannelSelection& selection, const std::vector<int64_t>& whole) {
  for (size_t g = 0; g < groups_.size(); ++g) {
    const int64_t n = whole[g], now = groups_[g].channels, real = groups_[g].multiplicity;
    limits_.push_back({now, now, 1});
    if (!ranked_groups_[g]) continue;
    ChannelLimits limits = selection.limits;
    for (const ChannelOverride& one : selection.overrides)
      if (any_means_a_maker(one.layers, groups_[g])) limits = one.limits;
    const auto left = [&](double ratio) -> int64_t {
      return n - std::llround(ratio * static_cast<double>(n));
    };
    // Widths are what kernels and people see, real channels; the least is rounded up to whole ones here.
    const int64_t width = limits.min_channels.value_or(std::max<int64_t>(8, divided_up(n * real, 10)));
    const int64_t round_to = std::max<int64_t>(selection.round_to, 1);
    const int64_t multiple = round_to / std::gcd(round_to, real);
    int64_t least = std::max({int64_t{1}, divided_up(width, real), left(limits.max_ratio)});
    least = std::min(now, rounded_up(least, multiple));
    limits_[g] = {least, std::max(least, left(limits.min_ratio)), multiple};
  }
}

ChannelRanking::ChannelRanking(const std::vector<ChannelGroup>& groups,
                               const std::vector<std::vector<float>>& scores,
                               const std::vector<int64_t>& whole, const ChannelSelection& selection)
    : groups_(groups), ranked_groups_(groups_that_may_lose(groups, selection.include, selection.exclude)) {
  ESP_CHECK(scores.size() == groups.size() && whole.size() == groups.size(), "prune: scores of ",
            scores.size(), " groups, the network has ", groups.size());
  for (const ChannelOverride& one : selection.overrides)
    check_layer_entries("prune: layers", one.layers, makers_of(groups));
  set_limits(selection, whole);
  std::map<Likeness, size_t> alike;
  for (size_t g = 0; g < groups.size(); ++g) {
    if (!ranked_groups_[g]) continue;
    size_t place = classes_.size();
    if (selection.scope == Scope::global) place = 0;
    if (selection.scope == Scope::isomorphic)
      place = alike.try_emplace(likeness(groups[g]), place).first->second;
    if (place == classes_.size()) classes_.emplace_back();
    for (int64_t c = 0; c < groups[g].channels; ++c)
      classes_[place].candidates.push_back(
          {scores[g][static_cast<size_t>(c)], static_cast<int32_t>(g), static_cast<int32_t>(c)});
    classes_[place].whole += whole[g];
    channels_ += whole[g];
  }
  for (Class& one : classes_)
    std::ranges::sort(one.candidates, {},
                      [](const Candidate& c) { return std::tie(c.score, c.group, c.channel); });
}

int64_t ChannelRanking::wanted(const Class& one, int64_t count) const {
  const double share = static_cast<double>(count) / static_cast<double>(channels_);
  const int64_t gone = one.whole - static_cast<int64_t>(one.candidates.size());
  return std::max<int64_t>(0, std::llround(share * static_cast<double>(one.whole)) - gone);
}

ChannelVerdicts ChannelRanking::select(int64_t count) const {
  ChannelVerdicts kept;
  std::vector<int64_t> left;
  for (const ChannelGroup& group : groups_) {
    kept.emplace_back(static_cast<size_t>(group.channels), uint8_t{1});
    left.push_back(group.channels);
  }
  const auto drop = [&](const Candidate& c) {
    kept[static_cast<size_t>(c.group)][static_cast<size_t>(c.channel)] = 0;
    --left[static_cast<size_t>(c.group)];
  };
  for (const Class& one : classes_) {
    int64_t missing = wanted(one, count);
    for (const Candidate& c : one.candidates) {
      if (missing == 0) break;
      if (left[static_cast<size_t>(c.group)] <= limits_[static_cast<size_t>(c.group)].least) continue;
      drop(c);
      --missing;
    }
  }
  // What must go in any case, and what rounding takes: the lowest that are left of each group.
  std::vector<int64_t> goal = left;
  for (size_t g = 0; g < groups_.size(); ++g) {
    const auto& [least, most, multiple] = limits_[g];
    goal[g] = std::min(left[g], most);
    if (goal[g] < groups_[g].channels) goal[g] = std::max(least, rounded_down(goal[g], multiple));
  }
  for (const Class& one : classes_)
    for (const Candidate& c : one.candidates) {
      const auto g = static_cast<size_t>(c.group);
      if (left[g] > goal[g] && kept[g][static_cast<size_t>(c.channel)]) drop(c);
    }
  return kept;
}

std::vector<ChannelRanking::Held> ChannelRanking::held(int64_t count) const {
  std::vector<int64_t> without_limits;
  for (const ChannelGroup& group : groups_) without_limits.push_back(group.channels);
  for (const Class& one : classes_)
    for (int64_t i = wanted(one, count); i > 0; --i)
      --without_limits[static_cast<size_t>(one.candidates[static_cast<size_t>(i - 1)].group)];
  std::vector<Held> held;
  for (size_t g = 0; g < groups_.size(); ++g)
    if (const int64_t real = groups_[g].multiplicity; without_limits[g] < limits_[g].least)
      held.push_back({maker_of(groups_[g]), groups_[g].channels * real, limits_[g].least * real,
                      without_limits[g] * real});
  return held;
}

}  // namespace espalier
