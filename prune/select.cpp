#include "espalier/prune/select.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <span>
#include <tuple>

#include "espalier/nn/names.h"
#include "espalier/prune/criterion.h"

namespace espalier {
namespace {

using Scores = std::span<const float>;
using Verdicts = std::span<uint8_t>;

// --- Where nothing limits a selection ---

/// An unsigned number in the order of the scores.
uint32_t ordered_bits(float score) {
  const auto bits = std::bit_cast<uint32_t>(score);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

/// The score of rank `rank`, from 0, in ascending order. Counts by the upper half of the bits first, so that
/// only the scores that share it need to be told apart.
float score_of_rank(Scores scores, int64_t rank) {
  std::vector<int64_t> counts(size_t{1} << 16);
  for (const float score : scores) ++counts[ordered_bits(score) >> 16];
  uint32_t half = 0;
  while (rank >= counts[half]) rank -= counts[half++];
  std::vector<float> near;
  near.reserve(static_cast<size_t>(counts[half]));
  for (const float score : scores)
    if (ordered_bits(score) >> 16 == half) near.push_back(score);
  std::nth_element(near.begin(), near.begin() + rank, near.end());
  return near[static_cast<size_t>(rank)];
}

/// Those below `bound` go, and those pruned before.
void drop_below(Scores scores, Verdicts kept, float bound) {
  for (size_t i = 0; i < scores.size(); ++i) kept[i] = !(scores[i] < bound || scores[i] == pruned_score);
}

void drop_lowest(Scores scores, Verdicts kept, int64_t count) {
  const float last = count > 0 ? score_of_rank(scores, count - 1) : pruned_score;
  drop_below(scores, kept, last);
  int64_t missing = count - std::count(kept.begin(), kept.end(), 0);
  for (size_t i = 0; missing > 0; ++i) {  // the first of those that tie with the last to go
    if (scores[i] != last) continue;
    kept[i] = 0;
    --missing;
  }
}

/// The rank of the score that a quantile cuts at. 0.07 x 100 is rank 7, whatever its last bit.
int64_t rank_of_quantile(double quantile, size_t n) {
  return static_cast<int64_t>(std::ceil(quantile * static_cast<double>(n - 1) * (1 - 1e-12)));
}

/// The verdicts on units that are ranked against each other, of which `count` go by a share.
void rank(Scores scores, Verdicts kept, const Cut& cut, int64_t count) {
  if (scores.empty()) return;
  switch (cut.rule) {
    case Cut::share:
      return drop_lowest(scores, kept, count);
    case Cut::threshold:
      return drop_below(scores, kept, static_cast<float>(cut.value));
    case Cut::quantile:
      return drop_below(scores, kept, score_of_rank(scores, rank_of_quantile(cut.value, scores.size())));
  }
}

/// Of each m along a line (line_of) the n highest stay, the later of equals; but none that was pruned before.
/// The last of a line may be fewer: zeros beside them would go first.
void keep_n_of_m(Scores scores, Verdicts kept, const Unit& unit, const std::vector<int64_t>& line) {
  const auto n = static_cast<size_t>(unit.n), m = static_cast<size_t>(unit.m);
  std::vector<size_t> order;
  for (size_t row = 0; row < scores.size(); row += line.size())
    for (size_t first = 0; first < line.size(); first += m) {
      order.resize(std::min(m, line.size() - first));
      for (size_t i = 0; i < order.size(); ++i) order[i] = row + static_cast<size_t>(line[first + i]);
      std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] < scores[b]; });
      for (size_t i = 0; i < order.size(); ++i)
        kept[order[i]] = i + n >= order.size() && scores[order[i]] != pruned_score;
    }
}

// --- Layers, and what they have in common ---

/// What groups must have in common to be ranked together in scope isomorphic: the same ops at the same
/// places, which is to say the same sides of parameters of the same rank and kernel.
using Likeness = std::vector<std::tuple<bool, Role, std::vector<int64_t>>>;
Likeness likeness(const UnitGroup& group) {
  Likeness like;
  for (const UnitMember& member : group.members) {
    const Shape& shape = member.parameter->shape();
    std::vector<int64_t> kernel;
    for (int i = 1; i + 1 < shape.axes(); ++i) kernel.push_back(shape[i]);
    kernel.push_back(shape.axes());
    like.emplace_back(member.out, member.parameter->role, kernel);
  }
  return like;
}

/// All layers that units are of.
std::vector<std::string> layers_of(const UnitSet& units) {
  if (units.channels) return makers_of(units.channels->graph.groups);
  std::vector<std::string> layers;
  for (const UnitGroup& group : units.groups) layers.push_back(group.layer);
  return layers;
}

int64_t divided_up(int64_t n, int64_t by) { return (n + by - 1) / by; }
int64_t rounded_up(int64_t n, int64_t multiple) { return divided_up(n, multiple) * multiple; }

}  // namespace

std::string why_no_shares_of(const Scope& scope, const Unit& unit) {
  if (unit.kind == Unit::channel) return "shares of layers are of masks, and a channel is of several layers";
  if (unit.kind == Unit::n_of_m)
    return "of each " + std::to_string(unit.m) + " weights n stay, in all layers";
  if (scope.within_layers()) return "";
  return fmt::format(
      "layers have shares of their own where each is ranked, and scope is {}: expected scope {}", scope.name,
      fmt::join(scopes().names_where([](const Scope& one) { return one.within_layers(); }), ", "));
}

std::string why_not_remaining(const Scope& scope) {
  if (scope.ranked != Scope::each_output) return "";
  return "what remains is counted by layer, and scope " + scope.name +
         " takes a share of each output's inputs: expected of original";
}

std::string why_no_limits(const Scope& scope) {
  if (scope.ranked != Scope::each_output) return "";
  return "limits are of layers, and scope " + scope.name +
         " takes the same share of each output's inputs: expected another scope";
}

int64_t share_count(double share, int64_t n) { return std::llround(share * static_cast<double>(n)); }

Ranking::Ranking(const UnitSet& units, const Tensor& scores, const Selection& selection,
                 const OriginalChannels& original)
    : units_(units), scores_(scores), scope_(selection.scope), parts_of_(units.groups.size()) {
  if (const std::string why = why_not(scope_, units.unit); !why.empty()) fail_usage("prune: ", why);
  if (scope_.ranked == Scope::each_output && !original.gone.empty())
    fail_usage("prune: ", why_not_remaining(scope_));
  if (!selection.shares_of.empty())
    if (const std::string why = why_no_shares_of(scope_, units.unit); !why.empty())
      fail_usage("prune: ", why);
  const auto limits_it = [](const Limits& one) { return one.min_ratio > 0 || one.max_ratio < 1; };
  if (const std::string why = why_no_limits(scope_);
      !why.empty() && (limits_it(selection.limits) || !selection.overrides.empty()))
    fail_usage("prune: ", why);
  ESP_CHECK(scope_.ranked != Scope::each_output || (!scope_.shares && !scope_.meets_total), "prune: scope ",
            scope_.name, " ranks each output, and says what layers share");
  ESP_CHECK(scores.elements() == units.count, "prune: ", scores.elements(), " scores for ", units.count,
            " units");
  std::vector<std::pair<std::string, std::vector<std::string>>> overridden;
  for (const LimitsOfLayers& one : selection.overrides) overridden.emplace_back("prune: layers", one.layers);
  for (const auto& [layers, share] : selection.shares_of)
    overridden.emplace_back("prune: sparsity_of", std::vector{layers});
  check_layer_lists(overridden, layers_of(units));
  differs_ = scope_.shares || !selection.shares_of.empty() || !original.gone.empty();
  std::map<Likeness, size_t> alike;
  for (size_t g = 0; g < units.groups.size(); ++g) {
    const UnitGroup& group = units.groups[g];
    originals_.push_back(group.count);
    if (units.channels && !original.channels.empty()) {
      const auto found = original.channels.find(group.layer);
      originals_.back() = found == original.channels.end() ? 0 : found->second;
    }
    ESP_CHECK(originals_.back() >= group.count, "prune: the channels of ", group.layer, " are ", group.count,
              " now, and ", originals_.back(), " before the first cut");
    add_parts(g, selection, original);
    size_t place = classes_.size();
    if (scope_.ranked == Scope::all) place = 0;
    if (scope_.ranked == Scope::alike) place = alike.try_emplace(likeness(group), place).first->second;
    // All units of a layer, or by turns those of each output, which lie one after another.
    const int64_t outputs =
        scope_.ranked == Scope::each_output ? group.members.front().parameter->shape()[0] : 1;
    for (int64_t o = 0; o < outputs; ++o, ++place) {
      if (place == classes_.size()) classes_.emplace_back();
      Class& one = classes_[place];
      one.ranges.push_back({g, o * (group.count / outputs), group.count / outputs});
      one.original += originals_.back() / outputs;
      one.now += group.count / outputs;
      if (const auto gone = original.gone.find(group.layer); gone != original.gone.end())
        one.gone += gone->second;
      for (const auto& [layer, share] : selection.shares_of)
        if (means_layer(layer, group.layer)) one.own = share;
    }
    units_of_all_ += originals_.back();
  }
  for (const Part& part : parts_)
    limited_ = limited_ || part.min_left > 0 || part.max_left < part.units || part.multiple > 1;
  if (!limited_) return;
  for (Class& one : classes_) add_candidates(one);
  add_rounded();
}

void Ranking::add_parts(size_t g, const Selection& selection, const OriginalChannels& original) {
  const UnitGroup& group = units_.groups[g];
  auto& parts_of = parts_of_[g];
  if (!units_.channels) {
    parts_of.push_back({parts_.size()});
    add_part({.group = g, .has = {}, .units = group.count, .maker = group.layer}, {group.layer}, selection);
    return;
  }
  const ChannelGroup& of = units_.channels->graph.groups[group.channel_group];
  const size_t first = parts_.size();
  std::vector<Makers> by_width = side_by_side(of);
  std::ranges::stable_sort(by_width, {}, &Makers::channels);
  for (const Makers& makers : by_width) {
    int64_t n = originals_[g];
    if (!makers.all()) {
      const auto found = original.parts.find(makers.layers.front());
      n = found == original.parts.end() ? makers.channels : found->second;
    }
    add_part({.group = g,
              .has = makers.makes,
              .units = makers.channels,
              .original = n,
              .maker = makers.layers.front(),
              .multiplicity = makers.multiplicity},
             makers.layers, selection);
  }
  for (const GroupMember& member : of.members) {  // what reads them, and norms
    std::vector<char> has(static_cast<size_t>(of.channels));
    for (const int32_t channel : member.channel_of)
      if (channel >= 0) has[static_cast<size_t>(channel)] = 1;
    if (std::ranges::find(parts_.begin() + static_cast<std::ptrdiff_t>(first), parts_.end(), has,
                          &Part::has) == parts_.end())
      parts_.push_back({.group = g, .has = has, .units = std::ranges::count(has, 1), .min_left = 1});
  }
  parts_of.resize(static_cast<size_t>(of.channels));
  for (size_t p = first; p < parts_.size(); ++p)
    for (size_t c = 0; c < parts_of.size(); ++c)
      if (parts_[p].has[c]) parts_of[c].push_back(p);
}

void Ranking::add_part(Part part, const std::vector<std::string>& layers, const Selection& selection) {
  Limits limits = selection.limits;
  for (const LimitsOfLayers& one : selection.overrides)
    if (any_means_layer(one.layers, layers)) limits = one.limits;
  const int64_t n = part.original, now = part.units, real = part.multiplicity;
  const auto left = [&](double ratio) { return n - share_count(ratio, n); };
  // Widths are what kernels and people see, real channels; the least is rounded up to whole ones here.
  const bool channels = units_.channels != nullptr;
  const int64_t width =
      limits.min_channels.value_or(channels ? std::max<int64_t>(8, divided_up(n * real, 10)) : 0);
  const int64_t round_to = std::max<int64_t>(selection.round_to, 1);
  part.multiple = round_to / std::gcd(round_to, real);
  const bool never_empty = channels || part.multiple > 1;  // 0 is a multiple of all
  part.min_left = std::max({int64_t{never_empty}, divided_up(width, real), left(limits.max_ratio)});
  part.min_left = std::min(now, rounded_up(part.min_left, part.multiple));
  part.max_left = std::max(part.min_left, left(limits.min_ratio));
  parts_.push_back(std::move(part));
}

void Ranking::add_candidates(Class& one) const {
  one.candidates.reserve(static_cast<size_t>(one.now));
  for (const auto& [g, first, count] : one.ranges)
    for (int64_t u = first; u < first + count; ++u)
      one.candidates.push_back(
          {scores_.f32()[units_.groups[g].first + u], static_cast<int32_t>(g), static_cast<int32_t>(u)});
  std::ranges::sort(one.candidates, {},
                    [](const Candidate& c) { return std::tie(c.score, c.group, c.unit); });
}

const std::vector<size_t>& Ranking::parts_of(const Candidate& c) const {
  const auto& parts = parts_of_[static_cast<size_t>(c.group)];
  return parts[units_.channels ? static_cast<size_t>(c.unit) : 0];
}

void Ranking::add_rounded() {
  if (std::ranges::all_of(parts_, [](const Part& part) { return part.multiple == 1; })) return;
  using Makings = std::vector<size_t>;  // the parts that layers make and a unit is in
  std::map<Makings, Rounded> sets;
  for (const Class& one : classes_)
    for (const Candidate& c : one.candidates) {
      Makings makings = parts_of(c);
      std::erase_if(makings, [&](size_t p) { return parts_[p].maker.empty(); });
      Rounded& set = sets[makings];
      for (const size_t p : makings) set.multiple = std::lcm(set.multiple, parts_[p].multiple);
      set.candidates.push_back(c);
    }
  for (auto& [makings, set] : sets)
    if (set.multiple > 1) rounded_.push_back(std::move(set));
}

/// What a scope with shares of its own gives each of the layers that have none by name.
void Ranking::share_out(double share, bool limits, std::vector<int64_t>& counts) const {
  std::vector<SharingLayer> layers;
  std::vector<size_t> classes;
  std::vector<int64_t> least, most;
  int64_t units = 0, gone = 0;
  for (size_t c = 0; c < classes_.size(); ++c) {
    const Class& one = classes_[c];
    if (one.own) continue;
    const size_t g = one.ranges.front().group;
    const UnitGroup& group = units_.groups[g];
    const Part& part = parts_[parts_of_[g].front().front()];
    const float* const first = scores_.f32() + group.first;
    const int64_t pruned = std::count(first, first + group.count, pruned_score);
    layers.push_back({group.members.front().parameter->shape(), one.original, group.place});
    classes.push_back(c);
    least.push_back(limits ? std::max(pruned, part.units - part.max_left) : 0);
    most.push_back(limits ? part.units - part.min_left : part.units);
    units += one.original;
    gone += one.gone;
  }
  if (scope_.meets_total) {
    const auto apportioned = apportion(scope_, layers, gone + share_count(share, units - gone), least, most);
    for (size_t i = 0; i < classes.size(); ++i) counts[classes[i]] = apportioned[i];
    return;
  }
  const std::vector<double> shares = scope_.shares(layers, share);
  for (size_t i = 0; i < classes.size(); ++i) {
    const Class& one = classes_[classes[i]];
    counts[classes[i]] = one.gone + share_count(shares[i], one.original - one.gone);
  }
}

std::vector<int64_t> Ranking::counts_of(const Cut& cut, bool limits) const {
  std::vector<int64_t> counts(classes_.size());
  if (cut.rule != Cut::share) {
    ESP_CHECK(!differs_, "prune: shares that layers have of their own go with a cut by share");
    return counts;
  }
  for (size_t c = 0; c < classes_.size(); ++c) {
    const Class& one = classes_[c];
    counts[c] = one.gone + share_count(one.own.value_or(cut.value), one.original - one.gone);
  }
  if (scope_.shares) share_out(cut.value, limits, counts);
  return counts;
}

int64_t Ranking::asked(double share) const {
  if (!differs_) return share_count(share, units_of_all_);
  if (!scope_.meets_total) {
    const std::vector<int64_t> all = counts_of({Cut::share, share}, false);
    return std::accumulate(all.begin(), all.end(), int64_t{0});
  }
  int64_t asked = 0, units = 0, gone = 0;  // the latter of those that share it
  for (const Class& one : classes_) {
    if (one.own) asked += one.gone + share_count(*one.own, one.original - one.gone);
    units += one.own ? 0 : one.original;
    gone += one.own ? 0 : one.gone;
  }
  return asked + gone + share_count(share, units - gone);
}

float Ranking::bound_of(const Class& one, const Cut& cut) {
  if (cut.rule == Cut::threshold || one.candidates.empty()) return static_cast<float>(cut.value);
  return one.candidates[static_cast<size_t>(rank_of_quantile(cut.value, one.candidates.size()))].score;
}

class Ranking::Dropping {
 public:
  Dropping(const Ranking& ranking, bool limits)
      : kept(Tensor::empty({ranking.units_.count}, DType::u8)), ranking_(ranking), limits_(limits) {
    std::ranges::fill(kept.span<uint8_t>(), uint8_t{1});
    for (const Part& part : ranking.parts_) left.push_back(part.units);
  }

  bool stays(const Candidate& c) const { return kept.data<uint8_t>()[place(c)] == 1; }
  bool any_gone(int32_t group) const {
    const UnitGroup& of = ranking_.units_.groups[static_cast<size_t>(group)];
    const uint8_t* const first = kept.data<uint8_t>() + of.first;
    return std::find(first, first + of.count, 0) != first + of.count;
  }
  /// Drops it unless it is gone or a limit holds it; what was pruned before goes whatever its limits.
  bool drop(const Candidate& c) {
    const auto spare = [&](size_t p) { return !limits_ || left[p] > ranking_.parts_[p].min_left; };
    if (!stays(c)) return false;
    if (c.score != pruned_score && !std::ranges::all_of(ranking_.parts_of(c), spare)) return false;
    set(c, 0);
    return true;
  }
  void put_back(const Candidate& c) { set(c, 1); }

  Tensor kept;
  std::vector<int64_t> left;  // of each part

 private:
  int64_t place(const Candidate& c) const {
    return ranking_.units_.groups[static_cast<size_t>(c.group)].first + c.unit;
  }
  void set(const Candidate& c, uint8_t stays) {
    kept.data<uint8_t>()[place(c)] = stays;
    for (const size_t p : ranking_.parts_of(c)) left[p] += stays ? 1 : -1;
  }

  const Ranking& ranking_;
  bool limits_;
};

Ranking::Dropping Ranking::choose(const Cut& cut, bool limits) const {
  Dropping selection(*this, limits);
  for (const Class& one : classes_)  // what was pruned before is gone
    for (auto c = one.candidates.begin(); c != one.candidates.end() && c->score == pruned_score; ++c)
      selection.drop(*c);
  // What must go in any case: the lowest of each layer, of those that make few of a group's first.
  for (size_t p = 0; p < parts_.size(); ++p)
    for (const Class& one : classes_)
      for (auto c = one.candidates.begin();
           c != one.candidates.end() && selection.left[p] > parts_[p].max_left; ++c)
        if (std::ranges::count(parts_of(*c), p) > 0) selection.drop(*c);
  const std::vector<int64_t> wanted = counts_of(cut, limits);
  for (size_t k = 0; k < classes_.size(); ++k) {
    const Class& one = classes_[k];
    if (cut.rule == Cut::share) {  // the next in line for what a limit holds
      int64_t missing = wanted[k] - (one.original - one.now);
      for (const Candidate& c : one.candidates) missing -= !selection.stays(c);
      for (auto c = one.candidates.begin(); c != one.candidates.end() && missing > 0; ++c)
        missing -= selection.drop(*c);
    } else {
      const float bound = bound_of(one, cut);
      for (auto c = one.candidates.begin(); c != one.candidates.end() && c->score < bound; ++c)
        selection.drop(*c);
    }
  }
  return selection;
}

Tensor Ranking::select_without_limits(const Cut& cut) const {
  Tensor kept = Tensor::empty({units_.count}, DType::u8);
  const Scores scores = scores_.span<float>();
  const Verdicts verdicts = kept.span<uint8_t>();
  const auto of = [&](auto all, const Range& range) {
    return all.subspan(static_cast<size_t>(units_.groups[range.group].first + range.first),
                       static_cast<size_t>(range.count));
  };
  if (units_.unit.kind == Unit::n_of_m) {
    for (size_t g = 0; g < units_.groups.size(); ++g) {
      const Range all{g, 0, units_.groups[g].count};
      keep_n_of_m(of(scores, all), of(verdicts, all), units_.unit,
                  line_of(*units_.groups[g].members.front().parameter));
    }
    return kept;
  }
  const std::vector<int64_t> wanted = counts_of(cut, true);
  if (classes_.size() == 1) {
    rank(scores, verdicts, cut, wanted.front());
  } else {
    for (size_t k = 0; k < classes_.size(); ++k) {
      const Class& one = classes_[k];
      std::vector<float> together;
      for (const Range& range : one.ranges)
        together.insert(together.end(), of(scores, range).begin(), of(scores, range).end());
      std::vector<uint8_t> stay(together.size());
      rank(together, stay, cut, wanted[k]);
      auto next = stay.begin();
      for (const Range& range : one.ranges) {
        std::copy_n(next, range.count, of(verdicts, range).begin());
        next += range.count;
      }
    }
  }
  return kept;
}

Tensor Ranking::select(const Cut& cut, bool rounded) const {
  if (!limited_ || units_.unit.kind == Unit::n_of_m) return select_without_limits(cut);
  Dropping selection = choose(cut, true);
  for (const Rounded& set : rounded_)
    if (rounded && selection.any_gone(set.candidates.front().group)) round(set, selection);
  return std::move(selection.kept);
}

void Ranking::round(const Rounded& set, Dropping& selection) {
  const auto& [multiple, candidates] = set;
  int64_t left = 0;
  for (const Candidate& c : candidates) left += selection.stays(c);
  for (auto c = candidates.begin(); c != candidates.end() && left % multiple != 0; ++c)
    left -= selection.drop(*c);
  for (auto c = candidates.rbegin(); c != candidates.rend() && left % multiple != 0; ++c) {
    if (selection.stays(*c) || c->score == pruned_score) continue;  // a limit holds what is left: up, then
    selection.put_back(*c);
    ++left;
  }
}

size_t Ranking::class_of(size_t group) const {
  const auto has = [=](const Class& one) { return std::ranges::count(one.ranges, group, &Range::group) > 0; };
  return static_cast<size_t>(std::ranges::find_if(classes_, has) - classes_.begin());
}

int64_t Ranking::gone(const Tensor& kept) const {
  return units_of_all_ - std::ranges::count(kept.span<uint8_t>(), 1);
}

std::vector<Ranking::Held> Ranking::held(const Cut& cut) const {
  if (!limited_) return {};
  const std::vector<int64_t> without_limits = choose(cut, false).left;
  std::vector<Held> held;
  for (size_t p = 0; p < parts_.size(); ++p)
    if (const Part& part = parts_[p]; !part.maker.empty() && without_limits[p] < part.min_left)
      held.push_back({part.maker, part.original * part.multiplicity, part.min_left * part.multiplicity,
                      without_limits[p] * part.multiplicity});
  return held;
}

}  // namespace espalier
