#include "espalier/prune/pruner.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "espalier/channels/fold.h"
#include "espalier/prune/compensate.h"
#include "espalier/prune/mask.h"
#include "espalier/util/spelling.h"

namespace espalier {
namespace {

void check_options(const PruneOptions& options) {
  check(options.target);
  if (const std::string why = why_not(options.apply, options.unit); !why.empty()) fail_usage("prune: ", why);
  const auto& [scope, limits, overrides, round_to, shares_of] = options.selection;
  const bool asks = options.target.kind != Target::sparsity || options.target.value != 0;
  const bool limits_it = limits.min_channels || limits.min_ratio > 0 || limits.max_ratio < 1;
  if (options.unit.kind == Unit::n_of_m &&
      (asks || limits_it || !overrides.empty() || round_to > 1 || options.of != Of::original))
    fail_usage("prune: ", options.unit.name(), " says itself how many go: expected no target and no limits");
  const auto only_of_sparsity = [&](bool is_given, const std::string& whose) {
    if (const std::string why = why_no_shares(whose, options.target.kind); is_given && !why.empty())
      fail_usage("prune: ", why);
  };
  if (const std::string why = why_not(scope, options.unit); !why.empty()) fail_usage("prune: ", why);
  if (const std::string why = why_not(options.scoring.criterion, scope); !why.empty())
    fail_usage("prune: ", why);
  only_of_sparsity(scope.shares, "scope " + scope.name);
  only_of_sparsity(!shares_of.empty(), "sparsity_of");
  only_of_sparsity(options.of == Of::remaining, "of remaining");
  if (const std::string why = why_not_remaining(options.selection.scope);
      options.of == Of::remaining && !why.empty())
    fail_usage("prune: ", why);
  if (const std::string why = why_not_loose(options.unit); !options.hold && !why.empty())
    fail_usage("prune: ", why);
  if (options.iterations > 1)
    if (const std::string why = why_not_in_steps(options); !why.empty())
      fail_usage("prune: iterations: ", why);
}

/// True if units of several layers are compared, so that their scores are normalised. A threshold is compared
/// with what a criterion says, so there nothing is divided. Weights are where a config asks for it.
bool are_compared(const PruneOptions& options) {
  const bool across = options.target.kind != Target::threshold && !options.selection.scope.within_layers();
  switch (options.unit.kind) {
    case Unit::n_of_m:
    case Unit::layer:
      return false;
    case Unit::weight:
      return across && options.scoring.normalizer.has_value();
    case Unit::channel:
      return options.target.kind != Target::threshold;
    default:
      return across;
  }
}

/// Whether the same share of what is left goes each time, whatever the share is of.
Of path_of(const PruneOptions& options) { return options.geometric ? Of::remaining : options.of; }

/// That part of the way to a share: of what remains the same share goes each time.
double part_of(double share, double way, Of of) {
  if (way == 1) return share;
  return of == Of::original ? share * way : 1 - std::pow(1 - share, way);
}

/// What goes in any case goes bit by bit, too, and so does what has a share of its own.
Selection on_the_way(Selection selection, double progress, Of of) {
  selection.limits.min_ratio *= progress;
  for (LimitsOfLayers& one : selection.overrides) one.limits.min_ratio *= progress;
  for (auto& [layers, share] : selection.shares_of) share = part_of(share, progress, of);
  return selection;
}

Signals signals_of(const PruneOptions& options) {
  const Criterion& criterion = options.scoring.criterion;
  if (criterion.needs == Needs::weights) return {};
  ESP_CHECK(options.signals, "prune: criterion ", criterion.name, " looks ",
            kind_of(criterion.needs).looks_at, ", and nobody gathers that here");
  return options.signals(criterion);
}

UnitSet units_for(Module& model, const Shape& input, const PruneOptions& options) {
  UnitSet units = units_of(model, input, options.unit, options.include, options.exclude);
  if (options.selection.scope.needs_places) find_places(units, model, input);
  return units;
}

/// By layer how many units masks hold at zero.
std::map<std::string, int64_t> pruned_by_layer(const UnitSet& units) {
  std::map<std::string, int64_t> pruned;
  for (const UnitGroup& group : units.groups)
    pruned[group.layer] = std::ranges::count(pruned_units(group), 1);
  return pruned;
}

/// What a selection is made of, and its verdicts, u8 [units.count].
struct Selected {
  Ranking ranking;
  std::optional<CostModel> cost;
  Goal goal;
  Cut cut = {};
  Tensor kept = {};
  std::vector<std::pair<Parameter*, Tensor>> corrected = {};  ///< what solve() made of weights that stay

  Selected(Module& model, const UnitSet& units, const Tensor& scores, const PruneOptions& options,
           const OriginalNetwork& original, double progress)
      : ranking(units, scores, on_the_way(options.selection, progress, path_of(options)), original),
        cost(units.channels ? std::optional<CostModel>(std::in_place, model, units.channels->network.graph)
                            : std::nullopt),
        goal(options.target, original, units, ranking, cost ? &*cost : nullptr, options.latency_ms,
             progress) {}
  Selected(const Selected&) = delete;
  Selected& operator=(const Selected&) = delete;
};

[[noreturn]] void fail_empty(const UnitGroup& layer, const PruneOptions& options) {
  fail("prune: nothing would be left of ", layer.layer, ", all ", layer.count, " ", options.unit.plural(),
       " of which would go",
       options.selection.scope.ranked == Scope::each_output
           ? join(", for each output has only ", layer.count / layer.members.front().parameter->shape()[0])
           : "",
       "; \"allow_empty\": true lets them");
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

/// Has a criterion with a `solve` decide, layer by layer, which weights go in the end, as many as were to,
/// and what becomes of those that stay.
void solve(const UnitSet& units, const Tensor& scores, const Criterion& criterion, const Signals& signals,
           Selected& selected) {
  for (const UnitGroup& group : units.groups) {
    Parameter& parameter = *group.members.front().parameter;
    const Tensor value = parameter.value().to(Device::cpu);
    const auto verdicts = selected.kept.span<uint8_t>().subspan(static_cast<size_t>(group.first),
                                                                static_cast<size_t>(group.count));
    std::vector<double> w(value.span<float>().begin(), value.span<float>().end());
    std::vector<uint8_t> kept(verdicts.begin(), verdicts.end());
    std::vector<char> before;
    for (int64_t u = 0; u < group.count; ++u) before.push_back(scores.f32()[group.first + u] == pruned_score);
    const auto matrices = signals.matrices.find(&parameter);
    ESP_CHECK(matrices != signals.matrices.end(), "prune: ", criterion.name, " has no matrices of ",
              parameter.name);
    const std::vector<int64_t> line = line_of(parameter);
    LayerToSolve layer{w,    kept,       before,          value.shape()[0], value.shape().row_elements(),
                       line, units.unit, matrices->second};
    criterion.solve(layer);
    std::ranges::copy(kept, verdicts.begin());
    Tensor corrected = Tensor::empty(value.shape());
    for (size_t i = 0; i < w.size(); ++i) corrected.f32()[i] = static_cast<float>(w[i]);
    selected.corrected.emplace_back(&parameter, std::move(corrected));
  }
}

/// Verdicts on the units: which go.
std::unique_ptr<Selected> select(Module& model, const UnitSet& units, const Tensor& scores,
                                 const PruneOptions& options, const Signals& signals,
                                 const OriginalNetwork& original, double progress) {
  auto selected = std::make_unique<Selected>(model, units, scores, options, original, progress);
  selected->cut = selected->goal.cut();
  selected->kept = selected->ranking.select(selected->cut);
  check_none_is_emptied(units, scores, selected->kept, options);
  if (options.scoring.criterion.solve) solve(units, scores, options.scoring.criterion, signals, *selected);
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
void apply(Module& model, const Shape& input, const UnitSet& units, const Selected& selected,
           const PruneOptions& options, PruneResult& result) {
  const Tensor& kept = selected.kept;
  for (const auto& [parameter, value] : selected.corrected)
    parameter->value() = value.to(parameter->value().device());
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
    if (options.hold)
      apply_masks(units, kept, options.scoring.gives_back);
    else
      zero_units(units, kept);
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
  const Signals signals = signals_of(options);
  const UnitSet units = units_for(model, input, options);
  const Tensor scores = score_units(units, options.scoring, signals, are_compared(options));
  const auto selected = select(model, units, scores, options, signals, original, progress);
  PruneResult result = result_of(units, scores, *selected, original);
  if (options.explain) {
    result.scores = layer_scores(units, scores, selected->kept, selected->ranking);
    result.compared = are_compared(options);
  }
  apply(model, input, units, *selected, options, result);
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

std::string why_not(const PruneOptions& options, const Schedule& schedule) {
  const PruneScheduleInfo& info = prune_schedules().named(schedule.type);
  if (!options.hold && !info.is_gradual())
    return "acts once, and what goes last is held: expected hold true, or another schedule";
  if (!options.hold && schedule.gives_back()) return "lets go of what it prunes itself: expected hold true";
  if (!info.is_gradual()) return "";
  if (options.of == Of::remaining)
    return "counts from the original network at each of its steps, so that a run which goes on counts as the "
           "one that began, and what had remained then is not known: expected of original, or one_shot";
  if (info.needs_sparsity() && options.target.kind != Target::sparsity)
    return join("is of a sparsity, and not of ", target_names()[options.target.kind]);
  if (info.between && options.target.value == 1)
    return "takes the same share of what is left each time, which comes to no sparsity of 1";
  if (!schedule.table.empty() && schedule.table.back().second != options.target.value)
    return join("ends at ", schedule.table.back().second, ", and sparsity is ", options.target.value);
  return why_not_in_steps(options);
}

std::string why_not_loose(const Unit& unit) {
  if (unit.kind != Unit::channel) return "";
  return "hold false lets what was zeroed come back, and of channels what they say moves on into what reads "
         "them: expected hold true";
}

std::string why_not(const Criterion& criterion, const Scope& scope) {
  if (criterion.needs != Needs::input_products || scope.ranked != Scope::each_output) return "";
  return "criterion " + criterion.name +
         " chooses for itself among all weights of 128 columns of a layer: expected another scope than " +
         scope.name;
}

const std::vector<std::string>& of_names() {
  static const std::vector<std::string> names = {"original", "remaining"};
  return names;
}

Of of_named(const std::string& name) { return static_cast<Of>(position_of_name("of", name, of_names())); }

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
  const UnitSet units = units_for(model, input, options);
  check_scoring(units, options.scoring);
  check_signals(model, input, options.scoring.criterion);
  const OriginalNetwork original = units.channels ? original_network(model, input) : OriginalNetwork{};
  const Tensor scores = Tensor::zeros({units.count});  // they rank nothing, but all limits are met
  const Selected selected(model, units, scores, options, original, 1.0);
  if (reachable) selected.goal.check_reachable();
  const Scope& scope = options.selection.scope;
  const bool counts = options.target.kind == Target::sparsity && scope.ranked != Scope::alike &&
                      options.unit.kind != Unit::layer && options.unit.kind != Unit::n_of_m;
  if (options.allow_empty || !counts || selected.ranking.limited()) return;
  const Tensor kept = selected.ranking.select({Cut::share, options.target.value});  // of equal scores
  for (const UnitGroup& layer : units.groups) {
    const auto stays = kept.span<uint8_t>().subspan(layer.first, layer.count);
    const bool all_go = scope.ranked == Scope::all
                            ? share_count(options.target.value, units.count) == units.count
                            : std::ranges::count(stays, 1) == 0;
    if (layer.count > 0 && all_go) fail_empty(layer, options);
  }
}

std::vector<PruneResult::Layer> foreseen_layers(Module& model, const Shape& input,
                                                const PruneOptions& options) {
  check_options(options);
  const bool is_counted = options.target.kind == Target::sparsity && options.unit.kind != Unit::n_of_m;
  if (!is_counted || options.unit.kind == Unit::channel) return {};
  const UnitSet units = units_for(model, input, options);
  const Tensor scores = Tensor::zeros({units.count});
  const OriginalNetwork original;
  Selected selected(model, units, scores, options, original, 1.0);
  std::map<size_t, size_t> in_class;
  for (size_t g = 0; g < units.groups.size(); ++g) ++in_class[selected.ranking.class_of(g)];
  if (std::ranges::none_of(in_class, [](const auto& one) { return one.second == 1; })) return {};
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
  OriginalNetwork from = original;
  if (options.of == Of::remaining) from.gone = pruned_by_layer(units_for(model, input, options));
  std::optional<PruneResult> result;
  for (int64_t i = 1; i <= options.iterations; ++i) {
    if (options.before_each) options.before_each();
    PruneOptions now = options;
    double so_far = progress;
    if (options.iterations > 1) {
      const double way = static_cast<double>(i) / static_cast<double>(options.iterations);
      so_far = progress * way;
      now.target.end = options.target.end.value_or(options.target.value);
      if (options.target.is_moved()) now.target.value = part_of(options.target.value, way, path_of(options));
    }
    PruneResult one = prune_once(model, input, now, from, so_far);
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
  if (const std::string why = why_not(options_, schedule_); !why.empty())
    fail_usage("prune: schedule ", schedule_.type, ": ", why);
}

namespace {

/// Sets all that is masked of these units' layers free.
PruneResult let_go(Module& model, const Shape& input, const PruneOptions& options) {
  const UnitSet units = units_for(model, input, options);
  PruneResult result{.let_go = true};
  for (const UnitGroup& group : units.groups) {
    const std::vector<char> pruned = pruned_units(group);
    result.layers.push_back(
        {.name = group.layer, .units = group.count, .pruned = 0, .already = std::ranges::count(pruned, 1)});
    for (const UnitMember& member : group.members) member.parameter->remove_mask();
  }
  return result;
}

}  // namespace

std::optional<PruneResult> GradualPruner::step(Module& model, const Shape& input,
                                               const OriginalNetwork& original, int64_t step) const {
  if (!schedule_.acts_at(step)) return std::nullopt;
  if (schedule_.lets_go_at(step)) return let_go(model, input, options_);
  PruneOptions now = options_;
  const double end = options_.target.value;
  now.target.end = end;
  now.hold = options_.hold || step == schedule_.last();
  const bool is_moved = now.target.is_moved();
  if (is_moved) now.target.value = schedule_.sparsity_at(step, end);
  const double progress = is_moved && end > 0 ? now.target.value / end : schedule_.sparsity_at(step, 1.0);
  return prune(model, input, original, now, progress);
}

}  // namespace espalier
