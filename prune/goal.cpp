#include "espalier/prune/goal.h"

#include <fmt/format.h>

namespace espalier {
namespace {

/// The least of 0 .. max that does; `max` if none below it does.
template <class Does>
int64_t least(int64_t max, const Does& does) {
  int64_t low = 0, high = max;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (does(middle))
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

}  // namespace

Goal::Goal(const Target& target, const OriginalNetwork& original, const UnitSet& units,
           const Ranking& ranking, const CostModel* cost, const LatencyAfter& latency, double progress)
    : target_(target), units_(units), ranking_(ranking), cost_(cost), latency_(latency), progress_(progress) {
  if (const std::string why = why_not(target.kind, units.unit); !why.empty()) fail_usage("prune: ", why);
  if (target.is_a_cut()) {
    last_ = target.end.value_or(target.value);
    return;
  }
  first_ = target.kind == Target::latency_ms ? original.latency_ms : quantity(original.cost);
  last_ = target.kind == Target::speedup ? first_ / target.value : target.value;
  ESP_CHECK(target.kind != Target::latency_ms || progress == 1.0 || first_ > 0,
            "prune: the original network's latency is not known, of which a part is to go");
}

void Goal::check_reachable() const {
  if (target_.is_a_cut() && !(target_.is_a_share() && ranking_.may_fall_short())) return;
  const double best = target_.is_a_share() ? best_share() : quantity_after(ranking_.units());
  const bool reached = target_.is_a_share() ? best >= last_ : best <= last_;
  const double is = target_.kind == Target::speedup ? first_ / best : best;
  const bool is_noisy = target_.kind == Target::latency_ms;
  const std::string why = ranking_.limited()
                              ? join("with every ", units_.channels ? "group of channels" : "layer",
                                     " at its least width (see min_channels, max_ratio and exclude)")
                              : join("with all gone that scope ", ranking_.scope().name, " does not keep (",
                                     ranking_.scope().help, ")");
  ESP_CHECK(reached, "prune: ", target_names()[target_.kind], " ", target_.end.value_or(target_.value),
            " cannot be reached: it is ", is_noisy ? fmt::format("{:.3g}", is) : join(is), " ", why);
}

std::optional<Goal::Forced> Goal::forced() const {
  if (!target_.is_a_share() || !ranking_.limited()) return std::nullopt;
  const int64_t asked = ranking_.asked(share_now());
  if (gone(cut_at(0), false) <= asked) return std::nullopt;
  return Forced{gone(cut_at(share_now()), false), asked, ranking_.units()};
}

Cut Goal::cut() const {
  if (target_.kind == Target::threshold) return {Cut::threshold, target_.value};
  if (target_.kind == Target::quantile) return {Cut::quantile, target_.value};
  check_reachable();
  if (target_.is_a_share()) return cut_for_share();
  // On the way nothing hangs on a latency's noise where nothing is asked for yet, or all is there already.
  if (progress_ == 0.0 || (progress_ < 1.0 && last_ >= first_)) return cut_of(0);
  const double asked = first_ + (last_ - first_) * progress_;
  return cut_of(least(ranking_.units(), [&](int64_t count) { return quantity_after(count) <= asked; }));
}

/// What the target is about, of a network that costs `cost`; 0 where that does not say it.
double Goal::quantity(const NetworkCost& cost) const {
  switch (target_.kind) {
    case Target::speedup:
    case Target::macs:
      return static_cast<double>(cost.macs);
    case Target::parameters:
      return static_cast<double>(cost.parameters);
    case Target::bytes:
      return static_cast<double>(cost.bytes);
    default:
      return 0;
  }
}

double Goal::quantity_after(int64_t count) const {
  const auto cuts = cuts_of(units_.channels->graph.groups, units_.verdicts(ranking_.select(cut_of(count))));
  return target_.kind == Target::latency_ms ? latency_(cuts) : quantity(cost_->after(cuts));
}

Cut Goal::cut_of(int64_t count) const {
  return {Cut::share, static_cast<double>(count) / static_cast<double>(ranking_.units())};
}

Cut Goal::cut_at(double share) const {
  return ranking_.differs_by_layer() ? Cut{Cut::share, share} : cut_of(count_of(share));
}

/// Rounded to multiples, a smaller selection may take as many as the share does without.
Cut Goal::cut_for_share() const {
  const Cut all{Cut::share, share_now()};
  if (!ranking_.rounds()) return all;
  const int64_t asked = gone(all, false);
  if (gone(all, true) == asked) return all;
  const int64_t count = count_of(all.value);
  const auto part = [&](int64_t less) {  // as much less of each share as of all units
    if (!ranking_.differs_by_layer()) return cut_of(less);
    if (less == count) return all;
    return Cut{Cut::share, all.value * static_cast<double>(less) / static_cast<double>(count)};
  };
  return part(least(count, [&](int64_t less) { return gone(part(less), true) >= asked; }));
}

/// The share that is asked for, unless all groups come to their limits before it; limits are rounded group by
/// group, by at most half a unit.
double Goal::best_share() const {
  const Tensor asked = ranking_.select(cut_at(last_)), at_most = ranking_.select(cut_of(ranking_.units()));
  const int64_t gone = ranking_.gone(asked), all = ranking_.asked(last_), missing = all - gone;
  const bool at_the_limits = std::ranges::equal(asked.span<uint8_t>(), at_most.span<uint8_t>());
  const auto rounded = ranking_.limited() ? static_cast<int64_t>(units_.groups.size()) : 0;
  if (!at_the_limits || 2 * missing <= rounded) return last_;
  if (ranking_.differs_by_layer()) return last_ * static_cast<double>(gone) / static_cast<double>(all);
  return static_cast<double>(gone) / static_cast<double>(ranking_.units());
}

}  // namespace espalier
