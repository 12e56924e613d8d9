#include "espalier/run/pruning.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <typeinfo>

#include "espalier/config/json.h"
#include "espalier/core/isa.h"
#include "espalier/nn/history_json.h"
#include "espalier/nn/network.h"
#include "espalier/prune/collapse.h"
#include "espalier/prune/dead.h"
#include "espalier/prune/mask.h"
#include "espalier/prune/report.h"
#include "espalier/run/build.h"
#include "espalier/train/callbacks.h"
#include "espalier/train/evaluate.h"
#include "espalier/train/regrow_callback.h"
#include "espalier/util/interrupt.h"
#include "espalier/util/table.h"

namespace espalier {

namespace {

Criterion criterion_of(const PruneConfig& config) {
  Criterion criterion = criteria().named(config.criterion.type);
  criterion.chosen = config.criterion.extra;
  return criterion;
}

}  // namespace

Needs needs_of(const PruneConfig& config) { return criteria().named(config.criterion.type).needs; }

PruneOptions prune_options(const PruneConfig& c, uint64_t key) {
  const std::optional<double> targets[] = {c.sparsity, c.threshold,  c.quantile, c.ratio,     c.speedup,
                                           c.macs,     c.parameters, c.bytes,    c.latency_ms};
  const auto given = std::ranges::find_if(targets, [](const auto& target) { return target.has_value(); });
  PruneOptions options{
      .unit = unit_named(c.unit),
      .scoring = {.criterion = criterion_of(c), .reduction = reduction_named(c.reduction), .seed = key},
      .selection = {.scope = scopes().named(c.scope),
                    .limits = {c.min_channels, c.min_ratio, c.max_ratio},
                    .overrides = {},
                    .round_to = c.round_to,
                    .shares_of = c.sparsity_of},
      .of = of_named(c.of),
      .include = c.include,
      .exclude = c.exclude,
      .apply = cuts_channels(c) ? Apply::cut : Apply::zero,
      .hold = c.hold,
      .allow_empty = c.allow_empty};
  if (options.unit.kind == Unit::block) options.unit = Unit::block_of(c.block->at(0), c.block->at(1));
  options.unit.pad = c.pad;
  if (given != std::end(targets))
    options.target = {static_cast<Target::Kind>(given - std::begin(targets)), given->value()};
  if (c.normalizer) options.scoring.normalizer = normalizer_named(*c.normalizer);
  for (const LimitsConfig& one : c.overrides)
    options.selection.overrides.push_back(
        {one.layers,
         {one.min_channels ? one.min_channels : c.min_channels, one.min_ratio.value_or(c.min_ratio),
          one.max_ratio.value_or(c.max_ratio)}});
  options.iterations =
      c.iterations.value_or(why_not_in_steps(options).empty() ? options.scoring.criterion.iterations : 1);
  options.geometric = options.scoring.criterion.iterations > 1;
  return options;
}

namespace {

/// The `every` in steps that fits between begin and end as often as the given one does, if that is an
/// integer; rounded, its last step would come just before the end.
std::optional<int64_t> even_every(const PruneScheduleConfig& when, TimeUnit unit, const Schedule& schedule,
                                  const StageLength& stage) {
  if (unit == TimeUnit::steps || !when.every || schedule.is_at_once()) return std::nullopt;
  const double total = unit == TimeUnit::share
                           ? 1.0
                           : static_cast<double>(stage.steps) / static_cast<double>(stage.epoch_steps);
  const double exact = (when.end.value_or(total) - when.begin) / *when.every;
  const int64_t times = std::llround(exact), length = schedule.end - schedule.begin;
  if (times < 1 || std::abs(exact - static_cast<double>(times)) > 1e-6) return std::nullopt;
  const int64_t even = (length + times - 1) / times;
  if ((times - 1) * even >= length) return std::nullopt;
  return even;
}

}  // namespace

Schedule prune_schedule(const TrainConfig& config, const StageLength& stage) {
  const PruneScheduleConfig when = config.prune->schedule.value_or(PruneScheduleConfig{});
  const TimeUnit unit = time_unit_named(when.in);
  Schedule schedule{.type = when.type,
                    .begin = stage.step_at(when.begin, unit),
                    .initial = when.initial.value_or(0),
                    .extra = when.extra};
  for (const auto& [place, sparsity] : when.table)
    schedule.table.emplace_back(stage.step_at(place, unit), sparsity);
  schedule.every = std::max<int64_t>(1, stage.in_steps(when.every.value_or(100), unit));
  schedule.end = schedule.is_at_once() ? schedule.begin
                 : when.end            ? stage.step_at(*when.end, unit)
                                       : stage.steps - 1;
  if (!schedule.table.empty()) {
    schedule.begin = schedule.table.front().first;
    schedule.end = schedule.table.back().first;
  }
  if (const auto even = even_every(when, unit, schedule, stage)) schedule.every = *even;
  check(schedule);
  if (config.early_stop && schedule.last() == stage.steps - 1)
    fail_usage(
        "early_stop: can never act, for prune.schedule goes on to the stage's last step; give it an 'end'");
  return schedule;
}

void check_pruning(const Config& config, const PruneConfig& prune, Module& model, bool original) {
  if (prune.remove_dead.value_or(false)) {
    channel_graph(model, Network(model, config.model.input).graph);
    return;
  }
  PruneOptions options = prune_options(prune, pruning_key(config));
  options.latency_ms = [&](const std::vector<AxisCut>& cuts) { return latency_after(config, model, cuts); };
  check_prune(model, config.model.input, options, original);
}

Pruning::Pruning(const Config& config, const PruneConfig& prune, Module& model, const Dataset& data,
                 const TrainConfig* train)
    : config_(config),
      prune_(prune),
      model_(model),
      data_(data),
      train_(train),
      options_(prune_options(prune, pruning_key(config))) {}

OriginalNetwork Pruning::original() const {
  if (options_.unit.kind != Unit::channel) return {};
  return original_network(model_, config_.model.input);
}

PruneOptions Pruning::options() const {
  PruneOptions options = options_;
  options.signals = [this](const Criterion& criterion) { return signals(criterion); };
  options.latency_ms = [this](const std::vector<AxisCut>& cuts) {
    stop_here();
    return latency_after(config_, model_, cuts);
  };
  options.before_each = [this] { stop_here(); };
  if (prune_.verify) {
    Loader loader = scoring_loader(config_, data_, Needs::weights);
    loader.start_epoch(0);
    Batch batch;
    loader.next(batch);
    options.verify = batch.images;
  }
  return options;
}

/// With its latency, for a target of latency: on the machine as it is now, where the model is measured, too.
OriginalNetwork Pruning::timed(const OriginalNetwork& original) const {
  OriginalNetwork now = original;
  if (options_.target.kind == Target::latency_ms && original.history)
    now.latency_ms = latency_ms(*network_of_shapes(config_, *original.history), config_.model.input);
  return now;
}

PruneResult Pruning::act(const OriginalNetwork& original) const {
  if (prune_.remove_dead.value_or(false)) return remove_dead(model_, config_.model.input, options().verify);
  return prune(model_, config_.model.input, timed(original), options());
}

std::optional<PruneResult> Pruning::act(const OriginalNetwork& original, const Schedule& schedule,
                                        int64_t step) const {
  return GradualPruner(options(), schedule).step(model_, config_.model.input, timed(original), step);
}

void Pruning::measure(PruneResult& result, const OriginalNetwork& original) const {
  if (!original.history || model_.history == *original.history) {  // the same shapes are as fast
    result.latency_ms = latency_ms(model_, config_.model.input);
    return;
  }
  const auto before = network_of_shapes(config_, *original.history);
  const PairedTimes times = latencies_ms(*before, model_, config_.model.input);
  result.latency_before_ms = times.first;
  result.latency_ms = times.second;
}

void Pruning::stop_here() const {
  if (!train_) stop_if_interrupted();
}

Signals Pruning::signals(const Criterion& criterion) const {
  if (!kind_of(criterion.needs).data) return gather_signals(model_, config_.model.input, criterion, {});
  Loader loader = scoring_loader(config_, data_, criterion.needs);
  const auto loss = train_ ? build_loss(*train_) : build_loss(config_);
  const auto batch = [&](int64_t i) {
    stop_here();
    if (i == 0) loader.start_epoch(0);
    Batch read;
    loader.next(read);
    return SignalBatch{read.images, read.labels};
  };
  return gather_signals(model_, config_.model.input, criterion,
                        {.batches = std::min(prune_.batches.value_or(criterion.batches), loader.batches()),
                         .batch = batch,
                         .loss = [&](const Variable& logits, const SignalBatch& of) {
                           return loss->measure(logits, of.labels).loss;
                         }});
}

std::vector<std::string> Pruning::warnings(const PruneResult& result) const {
  std::vector<std::string> lines;
  if (std::string idle = idle_target(result); !idle.empty()) lines.push_back(std::move(idle));
  if (const auto& forced = result.forced)
    lines.push_back(fmt::format("min_ratio takes {} of {} {}, {} {} asks for {}", grouped(forced->units),
                                grouped(forced->of), units(), target_names()[options_.target.kind],
                                options_.target.value, grouped(forced->asked)));
  return lines;
}

std::string Pruning::idle_target(const PruneResult& result) const {
  if (prune_.remove_dead.value_or(false))
    return result.cuts.empty() ? "no channel is dead: nothing is cut" : "";
  const Target& target = options_.target;
  const bool asks = !target.is_a_cut() && !(target.kind == Target::speedup && target.value == 1);
  if (!asks || result.after.parameters != result.before.parameters) return "";
  const auto line = [&](const std::string& asked, const std::string& has) {
    return fmt::format("{} {} is met already{}: nothing is cut", target_names()[target.kind], asked, has);
  };
  const auto counted = [&](int64_t has) {
    constexpr double largest = 1e15;
    return line(grouped(std::llround(std::min(target.value, largest))), ", the network has " + grouped(has));
  };
  switch (target.kind) {
    case Target::macs:
      return counted(result.before.macs);
    case Target::parameters:
      return counted(result.before.parameters);
    case Target::bytes:
      return counted(result.before.bytes);
    default:
      return line(fmt::format("{}", target.value), "");
  }
}

std::string width_hint(const PruneConfig& prune, Module& model) {
  const int64_t floats = isa() == Isa::avx512 ? 16 : isa() == Isa::avx2 ? 8 : 1;  // of a vector
  const auto ragged = [&](const LayerWidth& width) {
    return width.weight->shape().axes() == 4 && width.after % floats != 0;
  };
  if (prune.round_to > 1 || std::ranges::none_of(cut_widths(model), ragged)) return "";
  return fmt::format("widths that are multiples of {0} run faster: \"round_to\": {0}", floats);
}

std::vector<std::string> foreseen_warnings(const Config& config, Module& model, size_t from) {
  std::vector<std::string> lines;
  for (size_t i = from; i < config.stages.size(); ++i) {
    const PruneConfig* prune = config.stages[i].pruning();
    if (!prune) continue;
    if (cuts_channels(*prune)) break;
    for (const std::string& line :
         foreseen_collapse(model, config.model.input, prune_options(*prune, pruning_key(config))))
      lines.push_back(fmt::format("stage '{}': {}", config.stages[i].name, line));
  }
  return lines;
}

void report_sparsity(const std::string& stage, Module& model, const Shape& input, Console& console) {
  const Network network(model, input);
  console.lines([&](size_t width) { return sparsity_table(network.layers, network.totals, width); });
  if (const std::string dead = dead_line(dead_units(model)); !dead.empty())
    console.line(fmt::format("{}  {}", stage, dead));
  for (const std::string& line : collapsed_layers(model))
    console.warn(fmt::format("warning: stage '{}': {}", stage, line));
}

namespace {

using Json = nlohmann::ordered_json;

Json to_json(const OriginalNetwork& original) {
  Json json = {{"macs", original.cost.macs},
               {"parameters", original.cost.parameters},
               {"bytes", original.cost.bytes},
               {"channels", original.channels},
               {"parts", original.parts}};
  if (original.history)
    json["history"] = history_json(*original.history);
  else
    json["latency_ms"] = original.latency_ms;
  return json;
}

OriginalNetwork original_from(const Json& json, const std::string& place) {
  using Counts = std::map<std::string, int64_t>;
  OriginalNetwork original;
  original.cost = {json_count(json, "macs", place), json_count(json, "parameters", place),
                   json_count(json, "bytes", place)};
  original.channels = json_field<Counts>(json, "channels", place);
  if (json.contains("parts")) original.parts = json_field<Counts>(json, "parts", place);
  if (json.contains("history"))
    original.history =
        history_from(json_field<Json>(json, "history", place).dump(), json_place(place, "history"));
  if (json.contains("latency_ms")) original.latency_ms = json_field<double>(json, "latency_ms", place);
  return original;
}

}  // namespace

std::optional<OriginalNetwork> PruneCallback::original_in(const Position& position) {
  const auto found = position.callbacks.find("prune");
  if (found == position.callbacks.end()) return std::nullopt;
  return original_from(found->second, "checkpoint: /callbacks/prune");
}

Json PruneCallback::state(const TrainState&) {
  return original_ && cuts_channels(pruning_.config()) ? to_json(*original_) : Json();
}

void PruneCallback::restore(const Json& state, const std::string& place) {
  original_ = original_from(state, place);
}

void PruneCallback::add_state(const std::vector<Parameter*>& parameters) const {
  if (adds_up_movement()) start_movement(parameters);
}

void PruneCallback::on_stage_begin(TrainState& s) {
  if (!original_) original_ = pruning_.original();
  if (s.position.step == 0) add_state(s.optimizer.parameters());
}

void PruneCallback::after_backward(TrainState& s) {
  if (adds_up_movement()) add_movement(s.optimizer.parameters());
}

void PruneCallback::on_stage_end(TrainState& s) {
  if (!cuts_channels(pruning_.config())) report_sparsity(s.stage, s.model, pruning_.input(), console_);
  end_movement(s.optimizer.parameters());
  if (pruning_.config().remove) remove_masks(s.model);
}

void PruneCallback::after_step(TrainState& s) {
  s.pruned.reset();
  const int64_t step = s.position.step - 1;
  if (!schedule_.acts_at(step)) return;
  PruneEvent event(pruning_.config(), s.model, s.macs);
  std::optional<PruneResult> result;
  try {
    result = pruning_.act(*original_, schedule_, step);
  } catch (const Error& error) {
    if (typeid(error) != typeid(Error)) throw;  // a card's failure has a story of its own
    fail("stage '", s.stage, "', step ", s.position.step, ": ", error.what());
  }
  const bool cuts = cuts_channels(pruning_.config());
  if (cuts) s.macs = result->after.macs;
  if (result->let_go && result->total().already > 0) s.optimizer.restart();
  event.end(s.model, s.macs);
  s.pruned = std::move(event);
  if (!result->cuts.empty())
    console_.line(fmt::format("{}  step {}  {}", s.stage, s.position.step, channel_line(*result)));
  if (!cuts)
    console_.live({s.stage, fmt::format("step {}", s.position.step),
                   result->let_go ? fmt::format("let go of {}", grouped(result->total().already))
                                  : fmt::format("pruned {} of {}", grouped(result->total().pruned),
                                                grouped(result->total().units))});
  if (step != schedule_.last()) return;
  for (const std::string& line : pruning_.warnings(*result))
    console_.warn(fmt::format("warning: stage '{}': {}", s.stage, line));
  if (cuts)
    say_what_is_saved(s, std::move(*result));
  else
    for (const std::string& line : held_lines(*result, pruning_.units())) console_.line(line);
}

void PruneCallback::say_what_is_saved(const TrainState& s, PruneResult last) const {
  pruning_.measure(last, *original_);
  console_.line(fmt::format("{}  {}", s.stage, speed_line(last)));
  if (const std::string hint = width_hint(pruning_.config(), s.model); !hint.empty()) console_.line(hint);
}

StageCallbacks stage_callbacks(const Config& config, const TrainConfig& train, Module& model,
                               const Dataset& data, const std::optional<Schedule>& schedule, Console& console,
                               Callback& evaluator) {
  StageCallbacks all;
  const auto add = [&](std::unique_ptr<Callback> callback) {
    all.in_order.push_back(callback.get());
    all.made.push_back(std::move(callback));
  };
  if (train.regularize)
    add(std::make_unique<RegularizeCallback>(make_penalty(model, config.model.input, *train.regularize)));
  if (auto follows = straight_through_callback(train)) add(std::move(follows));
  if (train.ema > 0) add(std::make_unique<AverageCallback>(train.ema));
  if (train.prune)
    add(std::make_unique<PruneCallback>(Pruning(config, *train.prune, model, data, &train), schedule.value(),
                                        console));
  if (train.regrow) add(std::make_unique<RegrowCallback>(*train.regrow));
  all.in_order.push_back(&evaluator);
  for (auto& callback : named_callbacks(train)) add(std::move(callback));
  if (const double norm = train.optimizer.clip_norm; norm > 0) add(std::make_unique<ClipCallback>(norm));
  return all;
}

}  // namespace espalier
