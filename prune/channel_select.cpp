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

/// True if one of `entries` means one of `layers`.
bool any_means(const std::vector<std::string>& entries, const std::vector<std::string>& layers) {
  return std::ranges::any_of(layers,
                             [&](const std::string& layer) { return any_means_layer(entries, layer); });
}

/// True if one of `entries` means a layer that makes the group's channels.
bool any_means_a_maker(const std::vector<std::string>& entries, const ChannelGroup& group) {
  return any_means(entries, makers_of(group));
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
int64_t rounded_up(int64_t n, int64_t multiple) { return divided_up(n, multiple) * multiple; }

}  // namespace

std::vector<char> groups_that_may_lose(const std::vector<ChannelGroup>& groups,
                                       const std::vector<std::string>& include,
                                       const std::vector<std::string>& exclude, const std::string& field) {
  check_layer_lists({{field + ": include", include}, {field + ": exclude", exclude}}, makers_of(groups));
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
  ESP_CHECK(
      std::ranges::count(may, 1) > 0, field,
      ": no channels may go: all but the network's input and output are left out by include and exclude");
  return may;
}

void ChannelRanking::add_parts(size_t group, const ChannelSelection& selection, int64_t whole,
                               const std::map<std::string, int64_t>& whole_parts) {
  const ChannelGroup& of = groups_[group];
  const size_t first = parts_.size();
  std::vector<Makers> by_width = side_by_side(of);
  std::ranges::stable_sort(by_width, {}, &Makers::channels);
  for (const Makers& makers : by_width) {
    int64_t n = whole;
    if (!makers.all()) {
      const auto found = whole_parts.find(makers.layers.front());
      n = found == whole_parts.end() ? makers.channels : found->second;
    }
    const int64_t now = makers.channels, real = makers.multiplicity;
    ChannelLimits limits = selection.limits;
    for (const ChannelOverride& one : selection.overrides)
      if (any_means(one.layers, makers.layers)) limits = one.limits;
    const auto left = [&](double ratio) -> int64_t {
      return n - std::llround(ratio * static_cast<double>(n));
    };
    // Widths are what kernels and people see, real channels; the least is rounded up to whole ones here.
    const int64_t width = limits.min_channels.value_or(std::max<int64_t>(8, divided_up(n * real, 10)));
    const int64_t round_to = std::max<int64_t>(selection.round_to, 1);
    const int64_t multiple = round_to / std::gcd(round_to, real);
    int64_t least = std::max({int64_t{1}, divided_up(width, real), left(limits.max_ratio)});
    least = std::min(now, rounded_up(least, multiple));
    parts_.push_back({.group = group,
                      .has = makers.makes,
                      .channels = now,
                      .whole = n,
                      .least = least,
                      .most = std::max(least, left(limits.min_ratio)),
                      .multiple = multiple,
                      .maker = makers.layers.front(),
                      .multiplicity = real});
  }
  for (const GroupMember& member : of.members) {  // what reads them, and norms
    std::vector<char> has(static_cast<size_t>(of.channels));
    for (const int32_t channel : member.channel_of)
      if (channel >= 0) has[static_cast<size_t>(channel)] = 1;
    if (std::ranges::find(parts_.begin() + static_cast<std::ptrdiff_t>(first), parts_.end(), has,
                          &Part::has) == parts_.end())
      parts_.push_back({.group = group, .has = has, .channels = std::ranges::count(has, 1)});
  }
  auto& parts_of = parts_of_[group];
  parts_of.resize(static_cast<size_t>(of.channels));
  for (size_t p = first; p < parts_.size(); ++p)
    for (size_t c = 0; c < parts_of.size(); ++c)
      if (parts_[p].has[c]) parts_of[c].push_back(p);
}

ChannelRanking::ChannelRanking(const std::vector<ChannelGroup>& groups,
                               const std::vector<std::vector<float>>& scores,
                               const std::vector<int64_t>& whole, const ChannelSelection& selection,
                               const std::map<std::string, int64_t>& whole_parts)
    : groups_(groups), ranked_groups_(groups_that_may_lose(groups, selection.include, selection.exclude)) {
  ESP_CHECK(scores.size() == groups.size() && whole.size() == groups.size(), "prune: scores of ",
            scores.size(), " groups, the network has ", groups.size());
  std::vector<std::pair<std::string, std::vector<std::string>>> overridden;
  for (const ChannelOverride& one : selection.overrides) overridden.emplace_back("prune: layers", one.layers);
  check_layer_lists(overridden, makers_of(groups));
  parts_of_.resize(groups.size());
  std::map<Likeness, size_t> alike;
  for (size_t g = 0; g < groups.size(); ++g) {
    if (!ranked_groups_[g]) continue;
    add_parts(g, selection, whole[g], whole_parts);
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
  add_rounded();
}

void ChannelRanking::add_rounded() {
  using Makings = std::vector<size_t>;  // the parts that layers make and a channel is in
  std::map<Makings, Rounded> sets;
  for (const Class& one : classes_)
    for (const Candidate& c : one.candidates) {
      Makings makings = parts_of_[static_cast<size_t>(c.group)][static_cast<size_t>(c.channel)];
      std::erase_if(makings, [&](size_t p) { return parts_[p].maker.empty(); });
      Rounded& set = sets[makings];
      for (const size_t p : makings) set.multiple = std::lcm(set.multiple, parts_[p].multiple);
      set.candidates.push_back(c);
    }
  for (auto& [makings, set] : sets)
    if (set.multiple > 1) rounded_.push_back(std::move(set));
}

int64_t ChannelRanking::wanted(const Class& one, int64_t count) const {
  const double share = static_cast<double>(count) / static_cast<double>(channels_);
  const int64_t gone = one.whole - static_cast<int64_t>(one.candidates.size());
  return std::max<int64_t>(0, std::llround(share * static_cast<double>(one.whole)) - gone);
}

class ChannelRanking::Dropping {
 public:
  Dropping(const ChannelRanking& ranking, bool limits) : ranking_(ranking), limits_(limits) {
    for (const ChannelGroup& group : ranking.groups_)
      kept.emplace_back(static_cast<size_t>(group.channels), uint8_t{1});
    for (const Part& part : ranking.parts_) left.push_back(part.channels);
  }

  const std::vector<size_t>& parts(const Candidate& c) const {
    return ranking_.parts_of_[static_cast<size_t>(c.group)][static_cast<size_t>(c.channel)];
  }
  bool stays(const Candidate& c) const {
    return kept[static_cast<size_t>(c.group)][static_cast<size_t>(c.channel)] == 1;
  }
  bool any_gone(int32_t group) const { return std::ranges::count(kept[static_cast<size_t>(group)], 0) > 0; }
  /// Drops it unless it is gone or a limit holds it.
  bool drop(const Candidate& c) {
    const auto spare = [&](size_t p) { return !limits_ || left[p] > ranking_.parts_[p].least; };
    if (!stays(c) || !std::ranges::all_of(parts(c), spare)) return false;
    set(c, 0);
    return true;
  }
  void put_back(const Candidate& c) { set(c, 1); }

  ChannelVerdicts kept;
  std::vector<int64_t> left;  // of each part

 private:
  void set(const Candidate& c, uint8_t verdict) {
    kept[static_cast<size_t>(c.group)][static_cast<size_t>(c.channel)] = verdict;
    for (const size_t p : parts(c)) left[p] += verdict ? 1 : -1;
  }

  const ChannelRanking& ranking_;
  bool limits_;
};

ChannelRanking::Dropping ChannelRanking::choose(int64_t count, bool limits) const {
  Dropping selection(*this, limits);
  // What must go in any case: the lowest of each layer, of those that make few of a group's first.
  for (size_t p = 0; p < parts_.size(); ++p)
    for (const Class& one : classes_)
      for (auto c = one.candidates.begin(); c != one.candidates.end() && selection.left[p] > parts_[p].most;
           ++c)
        if (std::ranges::count(selection.parts(*c), p) > 0) selection.drop(*c);
  for (const Class& one : classes_) {
    int64_t missing = wanted(one, count);
    for (const Candidate& c : one.candidates) missing -= !selection.stays(c);
    for (auto c = one.candidates.begin(); c != one.candidates.end() && missing > 0; ++c)
      missing -= selection.drop(*c);
  }
  return selection;
}

ChannelVerdicts ChannelRanking::select(int64_t count, bool rounded) const {
  Dropping selection = choose(count, true);
  for (const Rounded& set : rounded_)
    if (rounded && selection.any_gone(set.candidates.front().group)) round(set, selection);
  return std::move(selection.kept);
}

void ChannelRanking::round(const Rounded& set, Dropping& selection) {
  const auto& [multiple, candidates] = set;
  int64_t left = 0;
  for (const Candidate& c : candidates) left += selection.stays(c);
  for (auto c = candidates.begin(); c != candidates.end() && left % multiple != 0; ++c)
    left -= selection.drop(*c);
  for (auto c = candidates.rbegin(); c != candidates.rend() && left % multiple != 0; ++c) {
    if (selection.stays(*c)) continue;  // a limit holds what is left: up, then
    selection.put_back(*c);
    ++left;
  }
}

int64_t ChannelRanking::gone(const ChannelVerdicts& kept) const {
  int64_t stay = 0;
  for (size_t g = 0; g < groups_.size(); ++g)
    if (ranked_groups_[g]) stay += std::ranges::count(kept[g], 1);
  return channels_ - stay;
}

std::vector<ChannelRanking::Held> ChannelRanking::held(int64_t count) const {
  const std::vector<int64_t> without_limits = choose(count, false).left;
  std::vector<Held> held;
  for (size_t p = 0; p < parts_.size(); ++p)
    if (const Part& part = parts_[p]; !part.maker.empty() && without_limits[p] < part.least)
      held.push_back({part.maker, part.whole * part.multiplicity, part.least * part.multiplicity,
                      without_limits[p] * part.multiplicity});
  return held;
}

}  // namespace espalier
