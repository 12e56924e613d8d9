#include "espalier/prune/pruner.h"

#include <algorithm>

#include "espalier/channels/fold.h"
#include "espalier/prune/mask.h"
#include "espalier/util/spelling.h"

namespace espalier {
namespace {

void check_options(const PruneOptions& options) {
  check(options.target);
  if (const std::string why = why_not(options.apply, options.unit); !why.empty()) fail_usage("prune: ", why);
  const auto& [scope, limits, overrides, round_to] = options.selection;
  const bool asks = options.target.kind != Target::sparsity || options.target.value != 0;
  const bool limits_it = limits.min_channels || limits.min_ratio > 0 || limits.max_ratio < 1;
  if (options.unit.kind == Unit::n_of_m && (asks || limits_it || !overrides.empty() || round_to > 1))
    fail_usage("prune: ", options.unit.name(), " says itself how many go: expected no target and no limits");
  if (options.iterations > 1)
    if (const std::string why = why_not_in_steps(options); !why.empty())
      fail_usage("prune: iterations: ", why);
}

/// True if units of several layers are compared, so that their scores are normalised. A threshold is compared
/// with what a criterion says, so there nothing is divided.
bool are_compared(const PruneOptions& options) {
  switch (options.unit.kind) {
    case Unit::weight:
    case Unit::n_of_m:
    case Unit::layer:
      return false;
    case Unit::channel:
      return options.target.kind != Target::threshold;
    default:
      return options.target.kind != Target::threshold && options.selection.scope != Scope::layer;
  }
}

/// What goes in any case goes bit by bit, too.
Selection on_the_way(Selection selection, double progress) {
  selection.limits.min_ratio *= progress;
  for (LimitsOfLayers& one : selection.overrides) one.limits.min_ratio *= progress;
  return selection;
}

GradientSquares gradients_of(const PruneOptions& options) {
  const Needs needs = options.scoring.criterion.needs;
  if (needs == Needs::weights) return {};
  ESP_CHECK(options.gradients, "prune: criterion ", options.scoring.criterion.name,
            " needs data, and there are none");
  return options.gradients(needs);
}

/// What a selection is made of, and its verdicts, u8 [units.count].
struct Selected {
  Ranking ranking;
  std::optional<CostModel> cost;
  Goal goal;
  Cut cut = {};
  Tensor kept = {};

  Selected(Module& model, const UnitSet& units, const Tensor& scores, const PruneOptions& options,
           const OriginalNetwork& original, double progress)
      : ranking(units, scores, on_the_way(options.selection, progress), original),
        cost(units.channels ? std::optional<CostModel>(std::in_place, model, units.channels->network.graph)
                            : std::nullopt),
        goal(options.target, original, units, ranking, cost ? &*cost : nullptr, options.latency_ms,
             progress) {}
  Selected(const Selected&) = delete;
  Selected& operator=(const Selected&) = delete;
};

[[noreturn]] void fail_empty(const UnitGroup& layer, const PruneOptions& options) {
  fail("prune: nothing would be left of ", layer.layer, ", all ", layer.count, " ", options.unit.plural(),
       " of which would go; \"allow_empty\": true lets them");
}

/// Error for a layer of which `kept` leaves nothing, unless nothing was left before.
void check_none_is_emptied(const UnitSet& units, const Tensor& scores, const Tensor& kept,
                           const PruneOptions& options) {
  if (options.allow_empty || options.unit.kind == Unit::layer) return;
  for (const UnitGroup& layer : units.groups) {
    const auto stays = kept.span<uint8_t>().subspan(layer.first, layer.count);
    const auto before = scores.span<float>().subspan(layer.first, layer.count);
    const bool emptied =
        std::ranges::count(stays, 0) == layer.count && std::ranges::count(before, pruned_score) < layer.count;
    if (emptied) fail_empty(layer, options);
  }
}

/// Verdicts on the units: which go.
std::unique_ptr<Selected> select(Module& model, const UnitSet& units, const Tensor& scores,
                                 const PruneOptions& options, const OriginalNetwork& original,
                                 double progress) {
  auto selected = std::make_unique<Selected>(model, units, scores, options, original, progress);
  selected->cut = selected->goal.cut();
  selected->kept = selected->ranking.select(selected->cut);
  check_none_is_emptied(units, scores, selected->kept, options);
  return selected;
}

PruneResult result_of(const UnitSet& units, const Tensor& scores, const Selected& selected,
                      const OriginalNetwork& original) {
  const Ranking& ranking = selected.ranking;
  PruneResult result{.held = ranking.held(selected.cut), .forced = selected.goal.forced()};
  for (size_t g = 0; g < units.groups.size(); ++g) {
    const UnitGroup& group = units.groups[g];
    const uint8_t* const verdict = selected.kept.data<uint8_t>() + group.first;
    const float* const score = scores.f32() + group.first;
    const int64_t real = units.channels ? units.channels->graph.groups[group.channel_group].multiplicity : 1;
    const int64_t cut = ranking.original(g) - group.count;
    result.layers.push_back({.name = group.layer,
                             .units = real * ranking.original(g),
                             .pruned = real * (cut + std::count(verdict, verdict + group.count, 0)),
                             .already = real * (cut + std::count(score, score + group.count, pruned_score))});
  }
  if (!units.channels) return result;
  result.cuts = cuts_of(units.channels->graph.groups, units.verdicts(selected.kept));
  result.before = original.cost;
  result.after = selected.cost->after(result.cuts);
  return result;
}

void check_cut(Module& model, const Shape& input, const PruneResult& result) {
  ESP_CHECK(result.proof->holds(), "prune: the cut network's outputs differ by ",
            result.proof->largest_difference, " from the masked one's, of which the largest is ",
            result.proof->largest_output);
  const NetworkTotals recount = Network(model, input).totals;
  ESP_CHECK(recount.macs == result.after.macs && recount.parameters == result.after.parameters,
            "prune: ", result.after.macs, " MACs and ", result.after.parameters,
            " parameters were to be left, there are ", recount.macs, " and ", recount.parameters);
}

/// Zeroes what goes, or cuts it. What a channel that goes says to every image goes on being said.
void apply(Module& model, const Shape& input, const UnitSet& units, const Tensor& kept,
           const PruneOptions& options, PruneResult& result) {
  std::optional<Proof> proof;
  if (units.channels) {
    const auto& [network, graph] = *units.channels;
    const ChannelVerdicts verdicts = units.verdicts(kept);
    if (options.apply == Apply::cut && options.verify.defined()) {
      zero_channels(graph.groups, verdicts, groups_that_fold(model, network.graph, graph));
      proof.emplace(model, options.verify);
    }
    fold_constants(model, network.graph, graph, verdicts);
  }
  if (options.apply == Apply::zero) {
    apply_masks(units, kept, options.scoring.gives_back);
    result.cuts.clear();
    return;
  }
  cut(model, result.cuts);
  if (!proof) return;
  result.proof = proof->end();
  check_cut(model, input, result);
}

/// One selection, as far as `progress` says.
PruneResult prune_once(Module& model, const Shape& input, const PruneOptions& options,
                       const OriginalNetwork& original, double progress) {
  const GradientSquares gradients = gradients_of(options);
  const UnitSet units = units_of(model, input, options.unit, options.include, options.exclude);
  const Tensor scores = score_units(units, options.scoring, gradients, are_compared(options));
  const auto selected = select(model, units, scores, options, original, progress);
  PruneResult result = result_of(units, scores, *selected, original);
  if (options.explain) {
    result.scores = layer_scores(units, scores, selected->kept, selected->ranking);
    result.compared = are_compared(options);
  }
  apply(model, input, units, selected->kept, options, result);
  return result;
}

/// Once at its limit a layer stays there, though later selections may no longer want more of it.
void keep_held(std::vector<Ranking::Held>& now, const std::vector<Ranking::Held>& before) {
  for (const Ranking::Held& one : before) {
    const auto found = std::ranges::find(now, one.layer, &Ranking::Held::layer);
    if (found == now.end())
      now.push_back(one);
    else
      found->wanted = std::min(found->wanted, one.wanted);
  }
}

/// What `before` did and then `now`.
PruneResult joined(PruneResult now, PruneResult before) {
  now.cuts.insert(now.cuts.begin(), before.cuts.begin(), before.cuts.end());
  keep_held(now.held, before.held);
  if (before.proof && before.proof->share() > now.proof->share()) now.proof = before.proof;
  for (size_t i = 0; i < now.layers.size(); ++i) now.layers[i].already = before.layers[i].already;
  return now;
}

}  // namespace

std::string why_not_in_steps(const PruneOptions& options) {
  if (options.unit.kind == Unit::n_of_m)
    return "n of each m stay, and there is nothing between all and n: expected one selection";
  const bool by_score = options.target.kind == Target::threshold || options.target.kind == Target::quantile;
  if (by_score && options.apply == Apply::cut)
    return target_names()[options.target.kind] +
           " is of the scores of those that are left, and cutting changes both: expected one selection";
  return "";
}

const std::vector<std::string>& apply_names() {
  static const std::vector<std::string> names = {"zero", "cut"};
  return names;
}

Apply apply_named(const std::string& name) {
  return static_cast<Apply>(position_of_name("apply", name, apply_names()));
}

std::string why_not(Apply apply, const Unit& unit) {
  if (apply == Apply::zero || unit.kind == Unit::channel) return "";
  return unit.plural() +
         " cannot be cut out of a network that stays dense, for others read or make the same " +
         "numbers: expected apply zero, or unit channel";
}

PruneResult::Layer PruneResult::total() const {
  Layer sum{.name = "total", .units = 0, .pruned = 0, .already = 0};
  for (const Layer& layer : layers) {
    sum.units += layer.units;
    sum.pruned += layer.pruned;
    sum.already += layer.already;
  }
  return sum;
}

void check_prune(Module& model, const Shape& input, const PruneOptions& options, bool reachable) {
  check_options(options);
  const UnitSet units = units_of(model, input, options.unit, options.include, options.exclude);
  check_scoring(units, options.scoring);
  const OriginalNetwork original = units.channels ? original_network(model, input) : OriginalNetwork{};
  const Tensor scores = Tensor::zeros({units.count});  // they rank nothing, but all limits are met
  const Selected selected(model, units, scores, options, original, 1.0);
  if (reachable) selected.goal.check_reachable();
  const Scope scope = options.selection.scope;
  const bool counts = options.target.kind == Target::sparsity && scope != Scope::isomorphic &&
                      options.unit.kind != Unit::layer && options.unit.kind != Unit::n_of_m;
  if (options.allow_empty || !counts || selected.ranking.limited()) return;
  for (const UnitGroup& layer : units.groups) {
    const int64_t ranked = scope == Scope::global ? units.count : layer.count;
    if (layer.count > 0 && share_count(options.target.value, ranked) == ranked) fail_empty(layer, options);
  }
}

std::vector<PruneResult::Layer> foreseen_layers(Module& model, const Shape& input,
                                                const PruneOptions& options) {
  check_options(options);
  const bool is_counted = options.target.kind == Target::sparsity && options.unit.kind != Unit::n_of_m;
  if (!is_counted || options.unit.kind == Unit::channel) return {};
  const UnitSet units = units_of(model, input, options.unit, options.include, options.exclude);
  const Tensor scores = Tensor::zeros({units.count});
  const OriginalNetwork original;
  Selected selected(model, units, scores, options, original, 1.0);
  std::vector<size_t> in_class(units.groups.size());
  for (size_t g = 0; g < units.groups.size(); ++g) ++in_class[selected.ranking.class_of(g)];
  if (std::ranges::count(in_class, 1) == 0) return {};
  selected.cut = selected.goal.cut();
  selected.kept = selected.ranking.select(selected.cut);
  const PruneResult result = result_of(units, scores, selected, original);
  std::vector<PruneResult::Layer> layers;
  for (size_t g = 0; g < units.groups.size(); ++g)
    if (in_class[selected.ranking.class_of(g)] == 1) layers.push_back(result.layers[g]);
  return layers;
}

PruneResult prune(Module& model, const Shape& input, const OriginalNetwork& original,
                  const PruneOptions& options, double progress) {
  check_options(options);
  std::optional<Transaction> transaction;  // masks by themselves are set when nothing can fail any more
  if (options.unit.kind == Unit::channel || options.iterations > 1) transaction.emplace(model);
  std::optional<PruneResult> result;
  for (int64_t i = 1; i <= options.iterations; ++i) {
    if (options.before_each) options.before_each();
    PruneOptions now = options;
    double so_far = progress;
    if (options.iterations > 1) {
      so_far = progress * static_cast<double>(i) / static_cast<double>(options.iterations);
      now.target.end = options.target.end.value_or(options.target.value);
      if (options.target.is_moved())
        now.target.value *= static_cast<double>(i) / static_cast<double>(options.iterations);
    }
    PruneResult one = prune_once(model, input, now, original, so_far);
    result = result ? joined(std::move(one), std::move(*result)) : std::move(one);
  }
  if (options.target.kind == Target::latency_ms) result->latency_ms = options.latency_ms({});
  if (transaction) transaction->commit();
  return std::move(*result);
}

PruneResult prune(Module& model, const Shape& input, const PruneOptions& options) {
  const bool channels = options.unit.kind == Unit::channel;
  return prune(model, input, channels ? original_network(model, input) : OriginalNetwork{}, options);
}

GradualPruner::GradualPruner(PruneOptions options, const Schedule& schedule)
    : options_(std::move(options)), schedule_(schedule) {
  check_options(options_);
  check(schedule_);
  if (schedule_.is_at_once()) return;
  if (const std::string why = why_not_in_steps(options_); !why.empty())
    fail_usage("prune: schedule ", schedule_.type, ": ", why);
}

std::optional<PruneResult> GradualPruner::step(Module& model, const Shape& input,
                                               const OriginalNetwork& original, int64_t step) const {
  if (!schedule_.acts_at(step)) return std::nullopt;
  PruneOptions now = options_;
  now.target.end = options_.target.value;
  if (now.target.is_moved()) now.target.value = schedule_.sparsity_at(step, options_.target.value);
  return prune(model, input, original, now, schedule_.sparsity_at(step, 1.0));
}

}  // namespace espalier
