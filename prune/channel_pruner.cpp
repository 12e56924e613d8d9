#include "espalier/prune/channel_pruner.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace espalier {
namespace {

/// What the target is about, of a network that costs `cost`.
double quantity(Target::Kind kind, const NetworkCost& cost) {
  switch (kind) {
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

/// Whether a selection of so many channels does what is asked.
class Goal {
 public:
  Goal(const ChannelPruneOptions& options, const NetworkCost& whole, const CostModel& now,
       const std::vector<ChannelGroup>& groups, const ChannelRanking& ranking, double progress)
      : options_(options), whole_(whole), now_(now), groups_(groups), ranking_(ranking) {
    const Target& target = options.target;
    if (target.kind == Target::ratio || target.kind == Target::latency_ms) return;
    const double first = quantity(target.kind, whole),
                 last = target.kind == Target::speedup ? first / target.value : target.value;
    most_ = first + (last - first) * progress;
    most_in_the_end_ = last;
  }

  /// The least number that does. Error if none does.
  int64_t least_count() const {
    int64_t low = 0, high = ranking_.channels();
    ESP_CHECK(can_be_reached(), failure(high));
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (reached(middle))
        high = middle;
      else
        low = middle + 1;
    }
    return low;
  }

 private:
  std::vector<AxisCut> cuts(int64_t count) const { return cuts_of(groups_, ranking_.select(count)); }

  /// In the end, whatever progress is now: so that nothing is half cut.
  bool can_be_reached() const {
    const int64_t all = ranking_.channels();
    return options_.target.kind == Target::latency_ms
               ? reached(all)
               : quantity(options_.target.kind, now_.after(cuts(all))) <= most_in_the_end_;
  }

  bool reached(int64_t count) const {
    if (options_.target.kind == Target::latency_ms)
      return options_.latency_ms(cuts(count)) <= options_.target.value;
    return quantity(options_.target.kind, now_.after(cuts(count))) <= most_;
  }

  std::string failure(int64_t count) const {
    const Target& target = options_.target;
    double got = 0;
    if (target.kind == Target::latency_ms)
      got = options_.latency_ms(cuts(count));
    else if (target.kind == Target::speedup)
      got = static_cast<double>(whole_.macs) / static_cast<double>(now_.after(cuts(count)).macs);
    else
      got = quantity(target.kind, now_.after(cuts(count)));
    return join("prune: ", target_names()[target.kind], " ", target.value, " cannot be reached: it is ", got,
                " with every group of channels at its least width (see min_channels, max_ratio and exclude)");
  }

  const ChannelPruneOptions& options_;
  const NetworkCost& whole_;
  const CostModel& now_;
  const std::vector<ChannelGroup>& groups_;
  const ChannelRanking& ranking_;
  double most_ = 0, most_in_the_end_ = 0;
};

/// Zeroes what makes the channels that go: what is behind them then reads 0.
void zero(const std::vector<ChannelGroup>& groups, const ChannelVerdicts& kept) {
  for (size_t g = 0; g < groups.size(); ++g)
    for (const GroupMember& member : groups[g].members) {
      if (!member.out || !member.parameter->learned()) continue;
      Tensor& value = member.parameter->value();
      const int64_t row = value.elements() / value.shape()[0];
      for (size_t i = 0; i < member.channel_of.size(); ++i)
        if (const int32_t channel = member.channel_of[i];
            channel >= 0 && !kept[g][static_cast<size_t>(channel)])
          std::fill_n(value.f32() + static_cast<int64_t>(i) * row, row, 0.0f);
    }
}

Tensor outputs(Module& model, const Tensor& images) {
  const bool training = model.training();
  const NoGradient off;
  model.set_training(false);
  Tensor y = model.forward(Variable(images)).value();
  model.set_training(training);
  return y;
}

CutProof compare(const Tensor& masked, const Tensor& cut) {
  ESP_CHECK(masked.shape() == cut.shape(), "prune: the cut network's output is ", cut.shape(),
            ", the masked one's ", masked.shape());
  CutProof proof;
  for (int64_t i = 0; i < masked.elements(); ++i) {
    const double a = masked.f32()[i], b = cut.f32()[i];
    proof.largest_output = std::max(proof.largest_output, std::abs(a));
    proof.largest_difference = std::max(proof.largest_difference, std::abs(a - b));
  }
  return proof;
}

/// What a cut is chosen from: the network as it is now, with scores.
struct Choice {
  Choice(Module& model, const Shape& input, const WholeNetwork& whole, const ChannelPruneOptions& options,
         const Signals& signals)
      : network(model, input),
        groups(channel_graph(model, network.tape).groups),
        channels(whole_channels(groups, whole)),
        ranking(groups, score_channels(groups, options.scoring, signals), channels, options.selection),
        cost(model, network.tape) {}

  static std::vector<int64_t> whole_channels(const std::vector<ChannelGroup>& groups,
                                             const WholeNetwork& whole) {
    std::vector<int64_t> channels;
    for (const ChannelGroup& group : groups) channels.push_back(whole.channels.at(maker_of(group)));
    return channels;
  }

  Network network;
  std::vector<ChannelGroup> groups;
  std::vector<int64_t> channels;  // of each group in the whole network
  ChannelRanking ranking;
  CostModel cost;
};

/// One cut, as far as `progress` says.
ChannelPruneResult cut_once(Module& model, const Shape& input, const WholeNetwork& whole,
                            const ChannelPruneOptions& options, double progress) {
  const Looks looks = options.scoring.criterion.looks;
  const Signals signals = looks == Looks::at_weights ? Signals{} : options.signals(looks);
  const Choice choice(model, input, whole, options, signals);
  const auto& [network, groups, channels, ranking, cost] = choice;
  const int64_t count =
      options.target.kind == Target::ratio
          ? std::llround(options.target.value * progress * static_cast<double>(ranking.channels()))
          : Goal(options, whole.cost, cost, groups, ranking, progress).least_count();
  const ChannelVerdicts kept = ranking.select(count);

  ChannelPruneResult result{.held = ranking.held(count),
                            .before = whole.cost,
                            .after = cost.after(cuts_of(groups, kept)),
                            .cuts = cuts_of(groups, kept)};
  for (size_t g = 0; g < groups.size(); ++g)
    if (ranking.ranked(g))
      result.groups.push_back({maker_of(groups[g]), channels[g], std::ranges::count(kept[g], 1)});
  Tensor masked;
  if (options.verify.defined()) {
    zero(groups, kept);
    masked = outputs(model, options.verify);
  }
  cut(model, result.cuts);
  if (masked.defined()) {
    result.proof = compare(masked, outputs(model, options.verify));
    const NetworkTotals recount = Network(model, input).totals;
    ESP_CHECK(recount.macs == result.after.macs && recount.parameters == result.after.parameters,
              "prune: ", result.after.macs, " MACs and ", result.after.parameters,
              " parameters were to be left, there are ", recount.macs, " and ", recount.parameters);
  }
  return result;
}

}  // namespace

WholeNetwork whole_network(Module& model, const Shape& input) {
  const Network network(model, input);
  WholeNetwork whole{.cost = CostModel(model, network.tape).after({}), .channels = {}};
  for (const ChannelGroup& group : channel_graph(model, network.tape).groups)
    whole.channels[maker_of(group)] = group.channels;
  return whole;
}

void check_prune_channels(Module& model, const Shape& input, const ChannelPruneOptions& options) {
  check(options.target);
  const WholeNetwork whole = whole_network(model, input);
  Signals signals;  // zeros, which rank nothing, but all limits are met
  if (options.scoring.criterion.looks != Looks::at_weights)
    for (const Parameter* parameter : model.parameters())
      if (parameter->learned()) signals.tensors[parameter] = Tensor::zeros(parameter->shape());
  const Choice choice(model, input, whole, options, signals);
  if (options.target.kind == Target::ratio || options.target.kind == Target::latency_ms) return;
  Goal(options, whole.cost, choice.cost, choice.groups, choice.ranking, 1.0).least_count();
}

ChannelPruneResult prune_channels(Module& model, const Shape& input, const WholeNetwork& whole,
                                  const ChannelPruneOptions& options, double progress) {
  check(options.target);
  ChannelPruneResult result;
  std::vector<AxisCut> cuts;
  for (int64_t i = 1; i <= options.iterations; ++i) {
    const double now = progress * static_cast<double>(i) / static_cast<double>(options.iterations);
    result = cut_once(model, input, whole, options, now);
    cuts.insert(cuts.end(), result.cuts.begin(), result.cuts.end());
  }
  result.cuts = std::move(cuts);
  return result;
}

}  // namespace espalier
