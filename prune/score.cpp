#include "espalier/prune/score.h"

#include <algorithm>
#include <cmath>

#include "espalier/core/parallel.h"
#include "espalier/util/spelling.h"

namespace espalier {
namespace {

constexpr int64_t grain = 16384;  // numbers that a thread should at least have

bool is_scored(const UnitMember& member, Scored scored) {
  const Role role = member.parameter->role;
  switch (scored) {
    case Scored::all:
      return role == Role::weight || role == Role::scale;
    case Scored::makers:
      return role == Role::weight && member.out;
    case Scored::scales:
      return role == Role::scale;
    case Scored::none:
      break;
  }
  return false;
}

/// The indices of each part of an axis, one part after another.
struct Parts {
  std::vector<int64_t> begin, index;
  int64_t max = 0;  // indices of a part

  explicit Parts(const UnitAxis& axis) : begin(static_cast<size_t>(axis.parts) + 1) {
    for (int64_t i = 0; i < axis.size; ++i)
      if (axis.part(i) >= 0) ++begin[static_cast<size_t>(axis.part(i)) + 1];
    for (size_t p = 1; p < begin.size(); ++p) {
      max = std::max(max, begin[p]);
      begin[p] += begin[p - 1];
    }
    index.resize(static_cast<size_t>(begin.back()));
    std::vector<int64_t> place = begin;
    for (int64_t i = 0; i < axis.size; ++i)
      if (axis.part(i) >= 0) index[static_cast<size_t>(place[static_cast<size_t>(axis.part(i))]++)] = i;
  }
  int64_t of(int64_t part) const {
    return begin[static_cast<size_t>(part) + 1] - begin[static_cast<size_t>(part)];
  }
  const int64_t* at(int64_t part) const { return index.data() + begin[static_cast<size_t>(part)]; }
};

/// A member as a matrix: a row for each unit of which it has numbers, with all of them, and zeros after those
/// that have fewer.
class Rows {
 public:
  explicit Rows(const UnitMember& member)
      : axes_(member.axes), consecutive_(member.is_consecutive()), size_(1) {
    if (consecutive_) {
      rows_ = member.units();
      size_ = axes_[1].size * axes_[2].size;
      return;
    }
    for (const UnitAxis& axis : axes_) size_ *= parts_.emplace_back(axis).max;
    for (int64_t unit = 0; unit < member.units(); ++unit) {
      const auto [a, b, c] = parts_of(unit);
      if (parts_[0].of(a) * parts_[1].of(b) * parts_[2].of(c) > 0) unit_of_.push_back(unit);
    }
    rows_ = static_cast<int64_t>(unit_of_.size());
  }

  int64_t rows() const { return rows_; }
  int64_t size() const { return size_; }
  bool consecutive() const { return consecutive_; }
  int64_t unit(int64_t row) const { return consecutive_ ? row : unit_of_[static_cast<size_t>(row)]; }

  /// Rows begin..end of `from`, which has the parameter's shape: where they lie, if they are consecutive, or
  /// copied to `to`. Null stays null.
  const float* read(const float* from, int64_t begin, int64_t end, std::vector<float>& to) const {
    if (!from || consecutive_) return from ? from + begin * size_ : nullptr;
    to.assign(static_cast<size_t>((end - begin) * size_), 0.0f);
    const UnitAxis& lines = axes_[2];
    const int64_t of_a = size_ / std::max<int64_t>(parts_[0].max, 1);
    for (int64_t k = 0; k < parts_[0].max; ++k)  // neighbours in memory are columns of neighbouring rows
      for (int64_t row = begin; row < end; ++row) {
        const auto [a, b, c] = parts_of(unit(row));
        if (k >= parts_[0].of(a)) continue;
        const float* const plane = from + parts_[0].at(a)[k] * axes_[1].size * lines.size;
        float* at = to.data() + (row - begin) * size_ + k * of_a;
        for (int64_t j = 0; j < parts_[1].of(b); ++j) {
          const float* const line = plane + parts_[1].at(b)[j] * lines.size;
          if (lines.one_part())
            at = std::copy_n(line, lines.size, at);
          else
            for (int64_t i = 0; i < parts_[2].of(c); ++i) *at++ = line[parts_[2].at(c)[i]];
        }
      }
    return to.data();
  }

 private:
  std::array<int64_t, 3> parts_of(int64_t unit) const {
    const int64_t c = axes_[2].parts, b = axes_[1].parts;
    return {unit / c / b, unit / c % b, unit % c};
  }

  const std::array<UnitAxis, 3>& axes_;
  bool consecutive_;
  int64_t size_, rows_ = 0;
  std::vector<Parts> parts_;
  std::vector<int64_t> unit_of_;
};

/// The scores of a member's rows.
std::vector<float> score_rows(const Rows& rows, const UnitGroup& group, const Parameter& parameter,
                              const Scoring& scoring, const Signals& signals) {
  constexpr int64_t copied = 16;  // rows that are copied at a time: as many cache lines are written in turn
  const Criterion& criterion = scoring.criterion;
  const Tensor weights = parameter.value().to(Device::cpu);
  const float *const w = weights.f32(), *const signal = signals.of(criterion, parameter);
  std::vector<float> scores(static_cast<size_t>(rows.rows()));
  const auto score = [&](int64_t begin, int64_t end) {
    std::vector<float> copies[2];
    criterion.score({scores.data() + begin, scores.data() + end},
                    {.w = rows.read(w, begin, end, copies[0]),
                     .size = rows.size(),
                     .key = score_key(scoring.seed),
                     .first = group.stream + static_cast<uint64_t>(begin),
                     .signal = rows.read(signal, begin, end, copies[1])});
  };
  if (criterion.together) {
    score(0, rows.rows());
  } else if (rows.consecutive()) {
    parallel_for(rows.rows(), grain / std::max<int64_t>(rows.size(), 1), score);
  } else {
    parallel_for((rows.rows() + copied - 1) / copied, grain / copied / std::max<int64_t>(rows.size(), 1),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t b = begin; b < end; ++b)
                     score(b * copied, std::min(rows.rows(), (b + 1) * copied));
                 });
  }
  return scores;
}

/// The scores of a group's units as they grow, member by member.
class Reduced {
 public:
  Reduced(std::span<float> scores, Reduction reduction)
      : reduction_(reduction), scores_(scores), members_(scores.size()) {}

  void add(const Rows& rows, const std::vector<float>& scores) {
    for (size_t i = 0; i < scores.size(); ++i) {
      const auto u = static_cast<size_t>(rows.unit(static_cast<int64_t>(i)));
      if (members_[u]++ == 0)
        scores_[u] = scores[i];
      else if (reduction_ == Reduction::max)
        scores_[u] = std::max(scores_[u], scores[i]);
      else if (reduction_ != Reduction::first)
        scores_[u] += scores[i];
    }
  }
  bool all_have_one() const { return std::ranges::count(members_, 0) == 0; }
  /// A mean is of the members that have the unit.
  void end() {
    if (reduction_ != Reduction::mean) return;
    for (size_t u = 0; u < scores_.size(); ++u)
      if (members_[u] > 1) scores_[u] /= static_cast<float>(members_[u]);
  }

 private:
  Reduction reduction_;
  std::span<float> scores_;
  std::vector<int32_t> members_;  // so far, of each unit
};

bool has_unit(const UnitMember& member, int64_t unit) {
  bool has = false;
  member.each_run([&](int64_t u, int64_t, int64_t) { has = has || u == unit; });
  return has;
}

/// The parameter that makes a unit.
const std::string& maker_of(const UnitGroup& group, int64_t unit) {
  const auto maker = std::ranges::find_if(
      group.members, [&](const UnitMember& member) { return member.out && has_unit(member, unit); });
  return (maker == group.members.end() ? group.members.begin() : maker)->parameter->name;
}

void check_group(const UnitGroup& group, const Criterion& criterion) {
  if (group.members.size() == 1 && is_scored(group.members.front(), criterion.scored)) return;
  std::vector<char> scored(static_cast<size_t>(group.count));
  for (const UnitMember& member : group.members)
    if (is_scored(member, criterion.scored))
      member.each_run([&](int64_t unit, int64_t, int64_t) { scored[static_cast<size_t>(unit)] = 1; });
  const auto none = std::ranges::find(scored, 0);
  if (none == scored.end()) return;
  const std::string& maker = maker_of(group, none - scored.begin());
  if (criterion.scored == Scored::scales)
    fail("prune: criterion ", criterion.name, " goes by batch norms, and there is none after ",
         layer_name(maker));
  fail("prune: criterion ", criterion.name, " finds nothing to look at in the group of ", maker);
}

void score_group(const UnitGroup& group, const Unit& unit, const Scoring& scoring, const Signals& signals,
                 bool compared, std::span<float> scores) {
  const Criterion& criterion = scoring.criterion;
  if (criterion.scored == Scored::none) {
    parallel_for(group.count, grain, [&](int64_t begin, int64_t end) {
      criterion.score({scores.data() + begin, scores.data() + end},
                      {.w = nullptr,
                       .size = 0,
                       .key = score_key(scoring.seed),
                       .first = group.stream + static_cast<uint64_t>(begin)});
    });
  } else {
    Reduced reduced(scores, scoring.reduction);
    for (const UnitMember& member : group.members) {
      if (!is_scored(member, criterion.scored)) continue;
      if (scoring.reduction == Reduction::first && reduced.all_have_one()) break;
      const Rows rows(member);
      reduced.add(rows, score_rows(rows, group, *member.parameter, scoring, signals));
    }
    reduced.end();
  }
  for (size_t u = 0; u < scores.size(); ++u)
    ESP_CHECK(std::isfinite(scores[u]), maker_of(group, static_cast<int64_t>(u)), ": ",
              unit.kind == Unit::n_of_m ? "weight" : unit.name(), " ", u, " scores ", scores[u], " by ",
              criterion.name, ", expected a finite score");
  if (criterion.relate) criterion.relate(scores);
  if (!scoring.gives_back) {
    const std::vector<char> pruned = pruned_units(group);
    for (size_t u = 0; u < pruned.size(); ++u)
      if (pruned[u]) scores[u] = pruned_score;
  }
  if (compared) normalize(scores, scoring.normalizer.value_or(criterion.normalizer));
}

}  // namespace

const std::vector<std::string>& reduction_names() {
  static const std::vector<std::string> names = {"mean", "sum", "max", "first"};
  return names;
}

Reduction reduction_named(const std::string& name) {
  return static_cast<Reduction>(position_of_name("reduction", name, reduction_names()));
}

std::vector<char> pruned_units(const UnitGroup& group) {
  const auto learned = [](const UnitMember& member) { return member.parameter->learned(); };
  if (std::ranges::none_of(group.members, [](const UnitMember& m) { return m.parameter->mask.defined(); }))
    return {};
  std::vector<char> pruned(static_cast<size_t>(group.count), 1);
  for (const UnitMember& member : group.members) {
    if (!learned(member)) continue;
    const Tensor mask = member.parameter->mask.to(Device::cpu);
    const uint8_t* const kept = mask.defined() ? mask.data<uint8_t>() : nullptr;
    member.each_run([&](int64_t unit, int64_t offset, int64_t length) {
      char& is_pruned = pruned[static_cast<size_t>(unit)];
      if (is_pruned)
        is_pruned =
            kept && std::all_of(kept + offset, kept + offset + length, [](uint8_t k) { return k == 0; });
    });
  }
  return pruned;
}

void check_scoring(const UnitSet& units, const Scoring& scoring) {
  if (const std::string why = why_not(scoring.criterion, units.unit); !why.empty())
    fail_usage("prune: ", why);
  if (scoring.criterion.scored == Scored::none) return;
  for (const UnitGroup& group : units.groups) check_group(group, scoring.criterion);
}

Tensor score_units(const UnitSet& units, const Scoring& scoring, const Signals& signals, bool compared) {
  check_scoring(units, scoring);
  Tensor scores = Tensor::empty({units.count});
  for (const UnitGroup& group : units.groups)
    score_group(
        group, units.unit, scoring, signals, compared,
        scores.span<float>().subspan(static_cast<size_t>(group.first), static_cast<size_t>(group.count)));
  return scores;
}

}  // namespace espalier
