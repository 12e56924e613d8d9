#include "espalier/prune/channel_pruner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "espalier/prune/fold.h"

namespace espalier {
namespace {

/// Whether a selection of so many channels does what is asked.
class Goal {
 public:
  Goal(const ChannelPruneOptions& options, const WholeNetwork& whole, const CostModel& now,
       const std::vector<ChannelGroup>& groups, const ChannelRanking& ranking, double progress)
      : options_(options),
        now_(now),
        groups_(groups),
        ranking_(ranking),
        first_(options.target.kind == Target::latency_ms ? whole.latency_ms : quantity(whole.cost)),
        last_(options.target.kind == Target::speedup ? first_ / options.target.value : options.target.value),
        progress_(progress) {
    ESP_CHECK(options.target.kind != Target::latency_ms || progress == 1.0 || first_ > 0,
              "prune: the whole network's latency is not known, of which a part is to go");
  }

  /// Error if no selection does in the end, whatever progress is now, so that nothing is half cut.
  void check_reachable() const {
    const double best =
        options_.target.kind == Target::ratio ? best_ratio() : quantity_after(ranking_.channels());
    const bool reached = options_.target.kind == Target::ratio ? best >= last_ : best <= last_;
    const double is = options_.target.kind == Target::speedup ? first_ / best : best;
    const bool is_noisy = options_.target.kind == Target::latency_ms;
    ESP_CHECK(reached, "prune: ", target_names()[options_.target.kind], " ", options_.target.value,
              " cannot be reached: it is ", is_noisy ? fmt::format("{:.3g}", is) : join(is),
              " with every group of channels at its least width (see min_channels, max_ratio and exclude)");
  }

  /// Absent unless the target is a ratio.
  std::optional<ChannelPruneResult::Forced> forced() const {
    if (options_.target.kind != Target::ratio) return std::nullopt;
    const int64_t asked = share_of_channels(last_ * progress_);
    const int64_t gone = ranking_.gone(ranking_.select(asked, false));
    if (gone <= asked || ranking_.gone(ranking_.select(0, false)) <= asked) return std::nullopt;
    return ChannelPruneResult::Forced{gone, asked, ranking_.channels()};
  }

  /// The least number that does.
  int64_t least_count() const {
    check_reachable();
    if (options_.target.kind == Target::ratio) return least_for_ratio(share_of_channels(last_ * progress_));
    // On the way nothing hangs on a latency's noise where nothing is asked for yet, or all is there already.
    if (progress_ == 0.0 || (progress_ < 1.0 && last_ >= first_)) return 0;
    const double most = first_ + (last_ - first_) * progress_;
    return least(ranking_.channels(), [&](int64_t count) { return quantity_after(count) <= most; });
  }

 private:
  /// What the target is about, of a network that costs `cost`; 0 where that does not say it.
  double quantity(const NetworkCost& cost) const {
    switch (options_.target.kind) {
      case Target::speedup:
      case Target::macs:
        return static_cast<double>(cost.macs);
      case Target::parameters:
        return static_cast<double>(cost.parameters);
      case Target::bytes:
        return static_cast<double>(cost.bytes);
      case Target::ratio:
      case Target::latency_ms:
        break;
    }
    return 0;
  }

  double quantity_after(int64_t count) const {
    const auto cuts = cuts_of(groups_, ranking_.select(count));
    return options_.target.kind == Target::latency_ms ? options_.latency_ms(cuts)
                                                      : quantity(now_.after(cuts));
  }

  /// The least of 0 .. most that does; `most` if none below it does.
  template <class Does>
  static int64_t least(int64_t most, const Does& does) {
    int64_t low = 0, high = most;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (does(middle))
        high = middle;
      else
        low = middle + 1;
    }
    return low;
  }

  /// Rounded to multiples, a smaller selection may take as many as `count` does without.
  int64_t least_for_ratio(int64_t count) const {
    if (options_.selection.round_to <= 1) return count;
    const int64_t asked = ranking_.gone(ranking_.select(count, false));
    return least(count, [&](int64_t less) { return ranking_.gone(ranking_.select(less)) >= asked; });
  }

  int64_t share_of_channels(double ratio) const {
    return std::llround(ratio * static_cast<double>(ranking_.channels()));
  }

  /// The ratio that is asked for, unless all groups come to their limits before it; those are rounded group
  /// by group, by half a channel at most.
  double best_ratio() const {
    const ChannelVerdicts asked = ranking_.select(share_of_channels(last_)),
                          most = ranking_.select(ranking_.channels());
    int64_t ranked = 0;
    for (size_t g = 0; g < groups_.size(); ++g) ranked += ranking_.ranked(g);
    const int64_t gone = ranking_.gone(asked), missing = share_of_channels(last_) - gone;
    if (asked != most || 2 * missing <= ranked) return last_;
    return static_cast<double>(gone) / static_cast<double>(ranking_.channels());
  }

  const ChannelPruneOptions& options_;
  const CostModel& now_;
  const std::vector<ChannelGroup>& groups_;
  const ChannelRanking& ranking_;
  double first_, last_;  // of the quantity: in the whole network, in the end
  double progress_;
};

/// Of these images, on the CPU, by the model in inference, or by their own statistics; the running ones stay
/// as they are.
Tensor outputs(Module& model, const Tensor& images, bool by_the_batch) {
  std::vector<std::pair<Parameter*, Tensor>> statistics;
  for (Parameter* parameter : model.parameters())
    if (by_the_batch && !parameter->learned()) statistics.emplace_back(parameter, parameter->value().clone());
  const InMode mode(model, by_the_batch);
  const NoGradient off;
  const Tensor there = images.to(device_of(model.parameters()));
  Tensor y = model.forward(Variable(there)).value().to(Device::cpu);
  for (auto& [parameter, before] : statistics) parameter->value() = std::move(before);
  return y;
}

/// NaN if one of them is.
double larger(double a, double b) { return std::isnan(a) || a > b ? a : b; }

CutProof compare(const Tensor& masked, const Tensor& cut) {
  ESP_CHECK(masked.shape() == cut.shape(), "prune: the cut network's output is ", cut.shape(),
            ", the masked one's ", masked.shape());
  CutProof proof;
  const int64_t images = masked.shape()[0], logits = masked.shape().row_elements();
  for (int64_t k = 0; k < logits; ++k) {
    double least = masked.f32()[k], most = least;
    for (int64_t i = k; i < images * logits; i += logits) {
      const double a = masked.f32()[i], b = cut.f32()[i];
      least = std::min(least, a);
      most = std::max(most, a);
      proof.largest_output = larger(proof.largest_output, std::abs(a));
      proof.largest_difference = larger(proof.largest_difference, std::abs(a - b));
    }
    proof.spread = std::max(proof.spread, most - least);
  }
  return proof;
}

/// The proof of a fold and a cut on some images, begun with the channels zeroed, ended without them.
class Proof {
 public:
  Proof(Module& model, const Tensor& images) : model_(model), images_(images) {
    masked_ = outputs(model, images, false);
    by_the_batch_ = images.shape()[0] > 1 && !compare(masked_, masked_).says_something();
    if (by_the_batch_) masked_ = outputs(model, images, true);
  }
  CutProof end() const {
    CutProof proof = compare(masked_, outputs(model_, images_, by_the_batch_));
    proof.by_the_batch = by_the_batch_;
    return proof;
  }

 private:
  Module& model_;
  Tensor images_, masked_;
  bool by_the_batch_;
};

/// What a cut is chosen from: the network as it is now, with scores.
struct Choice {
  Choice(Module& model, const Shape& input, const WholeNetwork& whole, const ChannelPruneOptions& options,
         const Signals& signals, double progress)
      : network(model, input),
        graph(channel_graph(model, network.graph)),
        channels(whole_channels(graph.groups, whole)),
        ranking(graph.groups, score_channels(graph.groups, options.scoring, signals), channels,
                on_the_way(options.selection, progress), whole.parts),
        cost(model, network.graph) {}

  /// What goes in any case goes bit by bit, too.
  static ChannelSelection on_the_way(ChannelSelection selection, double progress) {
    selection.limits.min_ratio *= progress;
    for (ChannelOverride& one : selection.overrides) one.limits.min_ratio *= progress;
    return selection;
  }

  static std::vector<int64_t> whole_channels(const std::vector<ChannelGroup>& groups,
                                             const WholeNetwork& whole) {
    std::vector<int64_t> channels;
    for (const ChannelGroup& group : groups) {
      const auto found = whole.channels.find(maker_of(group));
      ESP_CHECK(found != whole.channels.end() && found->second >= group.channels, "prune: the channels of ",
                maker_of(group), " are ", group.channels, " now, and ",
                found == whole.channels.end() ? 0 : found->second, " before the first cut");
      channels.push_back(found->second);
    }
    return channels;
  }

  Network network;
  ChannelGraph graph;
  std::vector<int64_t> channels;  // of each group in the whole network
  ChannelRanking ranking;
  CostModel cost;
};

/// One cut, as far as `progress` says.
ChannelPruneResult cut_once(Module& model, const Shape& input, const WholeNetwork& whole,
                            const ChannelPruneOptions& options, double progress) {
  const Looks looks = options.scoring.criterion.looks;
  const Signals signals = looks == Looks::at_weights ? Signals{} : options.signals(looks);
  const Choice choice(model, input, whole, options, signals, progress);
  const auto& [network, graph, channels, ranking, cost] = choice;
  const std::vector<ChannelGroup>& groups = graph.groups;
  const Goal goal(options, whole, cost, groups, ranking, progress);
  const int64_t count = goal.least_count();
  const ChannelVerdicts kept = ranking.select(count);

  ChannelPruneResult result{.held = ranking.held(count),
                            .forced = goal.forced(),
                            .before = whole.cost,
                            .after = {},
                            .cuts = cuts_of(groups, kept)};
  result.after = cost.after(result.cuts);
  for (size_t g = 0; g < groups.size(); ++g)
    if (ranking.ranked(g))
      result.groups.push_back({maker_of(groups[g]), channels[g] * groups[g].multiplicity,
                               std::ranges::count(kept[g], 1) * groups[g].multiplicity});
  std::optional<Proof> proof;
  if (options.verify.defined()) {
    zero_channels(groups, kept, groups_that_fold(model, network.graph, graph));
    proof.emplace(model, options.verify);
  }
  fold_constants(model, network.graph, graph, kept);
  cut(model, result.cuts);
  if (proof) {
    result.proof = proof->end();
    ESP_CHECK(result.proof->holds(), "prune: the cut network's outputs differ by ",
              result.proof->largest_difference, " from the masked one's, of which the largest is ",
              result.proof->largest_output);
    const NetworkTotals recount = Network(model, input).totals;
    ESP_CHECK(recount.macs == result.after.macs && recount.parameters == result.after.parameters,
              "prune: ", result.after.macs, " MACs and ", result.after.parameters,
              " parameters were to be left, there are ", recount.macs, " and ", recount.parameters);
  }
  return result;
}

/// Once at its limit a layer stays there, though later cuts may no longer want more of it.
void keep_held(std::vector<ChannelRanking::Held>& now, const std::vector<ChannelRanking::Held>& before) {
  for (const ChannelRanking::Held& one : before) {
    const auto found = std::ranges::find(now, one.layer, &ChannelRanking::Held::layer);
    if (found == now.end())
      now.push_back(one);
    else
      found->wanted = std::min(found->wanted, one.wanted);
  }
}

}  // namespace

WholeNetwork whole_network(Module& model, const Shape& input) {
  const Network network(model, input);
  WholeNetwork whole{
      .cost = CostModel(model, network.graph).after({}), .channels = {}, .history = model.history};
  for (const ChannelGroup& group : channel_graph(model, network.graph).groups) {
    whole.channels[maker_of(group)] = group.channels;
    for (const Makers& makers : side_by_side(group))
      if (!makers.all()) whole.parts[makers.layers.front()] = makers.channels;
  }
  return whole;
}

void check_prune_channels(Module& model, const Shape& input, const ChannelPruneOptions& options,
                          bool reachable) {
  check(options.target);
  const WholeNetwork whole = whole_network(model, input);
  Signals signals;  // zeros, which rank nothing, but all limits are met
  if (options.scoring.criterion.looks != Looks::at_weights)
    for (const Parameter* parameter : model.parameters())
      if (parameter->learned()) signals.tensors[parameter] = Tensor::zeros(parameter->shape());
  const Choice choice(model, input, whole, options, signals, 1.0);
  if (reachable)
    Goal(options, whole, choice.cost, choice.graph.groups, choice.ranking, 1.0).check_reachable();
}

ChannelPruneResult prune_channels(Module& model, const Shape& input, const WholeNetwork& whole,
                                  const ChannelPruneOptions& options, double progress) {
  check(options.target);
  Transaction transaction(model);
  ChannelPruneResult result;
  for (int64_t i = 1; i <= options.iterations; ++i) {
    if (options.before_cut) options.before_cut();
    const double now = progress * static_cast<double>(i) / static_cast<double>(options.iterations);
    ChannelPruneResult one = cut_once(model, input, whole, options, now);
    one.cuts.insert(one.cuts.begin(), result.cuts.begin(), result.cuts.end());
    keep_held(one.held, result.held);
    if (result.proof && result.proof->share() > one.proof->share()) one.proof = result.proof;
    result = std::move(one);
  }
  if (options.target.kind == Target::latency_ms) result.latency_ms = options.latency_ms({});
  transaction.commit();
  return result;
}

}  // namespace espalier
