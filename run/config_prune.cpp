// The declarations of what prunes, and of what prepares for it.
#include <algorithm>
#include <cmath>

#include "espalier/config/extra_fields.h"
#include "espalier/penalty/penalty.h"
#include "espalier/prune/pruner.h"
#include "espalier/run/config_parts.h"
#include "espalier/run/pruning.h"

namespace espalier {

using namespace schema;

Type<double> amount(const Bounds& range) {
  Type<double> type = number(range);
  type.write = [](double value) {
    return value == std::floor(value) ? Json(static_cast<int64_t>(value)) : Json(value);
  };
  return type;
}

void check_amount(const Place& at, double value, const std::string& in) {
  if (in == "steps" && value != std::floor(value))
    at.fail("found ", value,
            ", expected a whole number of steps; \"in\": \"epochs\" or \"share\" counts otherwise");
  if (in == "share" && value > 1) at.fail("found ", value, ", expected at most 1, the whole stage");
}

namespace {

/// [step, sparsity], the first in the unit of `in`.
Type<std::vector<std::pair<double, double>>> table_type() {
  const Type<double> place = amount(not_negative), sparsity = number(share);
  const auto rows = list_of(list_of(number({}), {.from = 2, .to = 2}), {.from = 1});
  Description description = rows;
  description.expected = "a list of [step, sparsity], sparsities from 0 to 1";
  return {description,
          [=](const Json& json, const Place& at) {
            rows.read(json, at);
            std::vector<std::pair<double, double>> table;
            if (!at.is_sound()) return table;
            for (size_t i = 0; i < json.size(); ++i)
              table.emplace_back(place.read(json[i][0], at / i / 0), sparsity.read(json[i][1], at / i / 1));
            return table;
          },
          [=](const std::vector<std::pair<double, double>>& table) {
            Json json;  // an empty one is absent
            for (const auto& [at, then] : table)
              json.push_back(Json::array({place.write(at), sparsity.write(then)}));
            return json;
          }};
}

void check_table(const PruneScheduleConfig& s, const Place& at) {
  for (size_t i = 1; i < s.table.size(); ++i) {
    const auto& [before, less] = s.table[i - 1];
    const auto& [place, more] = s.table[i];
    if (place <= before)
      (at / i / 0).fail("found ", place, ", expected more than in the row before: ", before);
    if (more < less)
      (at / i / 1)
          .fail("found ", more, ", expected at least that of the row before: ", less,
                "; what is pruned is not given back");
  }
}

void check_schedule(const PruneScheduleConfig& s, const Place& at) {
  for (size_t i = 0; i < s.table.size(); ++i) check_amount(at / "table" / i / 0, s.table[i].first, s.in);
  check_table(s, at / "table");
  check_amount(at / "begin", s.begin, s.in);
  if (s.every) check_amount(at / "every", *s.every, s.in);
  if (!s.end) return;
  check_amount(at / "end", *s.end, s.in);
  if (*s.end <= s.begin) (at / "end").fail("found ", *s.end, ", expected more than begin: ", s.begin);
}

Type<PruneScheduleConfig> prune_schedule_type() {
  const auto with = [](const char* option) { return prune_schedules().names_with(option); };
  const std::vector<Field<PruneScheduleConfig>> fields = {
      field("type", &PruneScheduleConfig::type, one_of(prune_schedules().names()),
            help_with_rows("how sparsity grows: what is left of the way while p goes from 0 to 1 between "
                           "begin and end",
                           prune_schedules()))
          .required(),
      field("in", &PruneScheduleConfig::in, one_of(time_unit_names()),
            "what begin, end and every count: steps, epochs (1.5 is one and a half), or share of the stage, "
            "0..1"),
      field("begin", &PruneScheduleConfig::begin, amount(not_negative),
            "the step it first acts after, from 0; of epochs or a share, how much has passed then")
          .only_for(with("begin")),
      field("end", &PruneScheduleConfig::end, amount(positive),
            "the same of the step it last acts after; without it, the stage's last")
          .only_for(with("end")),
      field("every", &PruneScheduleConfig::every, amount(positive),
            "how much lies between; without it, 100 steps, an epoch or a hundredth of the stage")
          .only_for(with("every")),
      field("initial", &PruneScheduleConfig::initial, number(share),
            "s_0, the sparsity at begin, such as that of a network that is pruned already; without it, 0. It "
            "grows to the prune's, s_f, as s_f + (s_0 - s_f) times what the type says is left")
          .only_for(with("initial")),
      field("table", &PruneScheduleConfig::table, table_type(),
            "rows of [step, sparsity]: the step it acts after, counted as 'in' says, each more than the one "
            "before, and what is pruned then, never less; the last is the prune's sparsity")
          .required()
          .only_for(with("table"))};
  auto type = object<PruneScheduleConfig>(
      with_extra_fields(fields, prune_schedules(), &PruneScheduleConfig::extra),
      {.defaults =
           [](PruneScheduleConfig& s) {
             s.extra = s.extra.with_defaults(prune_schedules().named(s.type).extra, s.type);
           },
       .check = check_schedule});
  type.read = [read = type.read](const Json& json, const Place& at) {
    PruneScheduleConfig s = read(json, at);
    if (!s.every) s.every = s.in == "epochs" ? 1 : s.in == "share" ? 0.01 : 100;
    return s;
  };
  return type;
}

/// Channels have no sparsity: a schedule says how much of the way to their target is done.
void check_initial(const PruneConfig& p, const Place& at) {
  if (!p.schedule || !p.schedule->initial) return;
  if (!p.sparsity)
    at.mistake("is the sparsity to begin with, and there is no 'sparsity' to end with");
  else if (*p.schedule->initial > *p.sparsity)
    at.mistake("found ", *p.schedule->initial, ", expected at most sparsity: ", *p.sparsity);
}

/// What a pruner inside `train` does not do along its schedule.
void check_along_schedule(const PruneConfig& p, const PruneOptions& options, const Place& at) {
  const PruneScheduleConfig& when = *p.schedule;
  Schedule schedule{.type = when.type};
  for (const auto& [place, sparsity] : when.table) schedule.table.emplace_back(0, sparsity);
  const PruneScheduleInfo& info = prune_schedules().named(when.type);
  const bool takes_target = p.sparsity || (p.unit == "channel" && !p.threshold && !p.quantile);
  const Place type = at / "schedule" / "type";
  if (info.is_gradual() && !takes_target)
    type.mistake("found \"", when.type,
                 "\", which needs 'sparsity', or a target of channels; 'threshold', 'quantile' and "
                 "n:m go only with one_shot");
  else if (const std::string why = why_not(options, schedule); !why.empty())
    type.mistake("found \"", when.type, "\", which ", why);
}

/// Of what a criterion, a scope, a target says nothing of such units.
void check_pieces(const PruneConfig& p, const Place& at) {
  const PruneOptions options = prune_options(p, 0);
  const auto refuse = [&](const char* field, const std::string& why) {
    if (!why.empty()) (at / field).mistake(why);
  };
  refuse("criterion", why_not(options.scoring.criterion, options.unit));
  refuse("scope", why_not(options.scoring.criterion, options.selection.scope));
  const Target::Kind target = options.target.kind;
  const std::string misfit = why_not(options.selection.scope, options.unit);
  refuse("scope", misfit);
  if (misfit.empty() && options.selection.scope.shares)
    refuse("scope", why_no_shares("scope " + p.scope, target));
  refuse("apply", why_not(options.apply, options.unit));
  const bool wide = options.unit.kind == Unit::filter || options.unit.kind == Unit::channel;
  for (size_t i = 0; i < p.overrides.size(); ++i)
    if (p.overrides[i].min_channels && !wide)
      (at / "overrides" / i / "min_channels")
          .mistake("is for unit filter, row or channel, and the unit is ", p.unit);
  if (p.verify && options.apply == Apply::zero)
    refuse("verify", "compares a cut network with the masked one, and here nothing is cut: apply is zero");
  if (!p.sparsity_of.empty()) {
    refuse("sparsity_of", why_no_shares_of(options.selection.scope, options.unit));
    refuse("sparsity_of", why_no_shares("sparsity_of", target));
  }
  if (options.of == Of::remaining) {
    refuse("of", why_no_shares("of remaining", target));
    refuse("of", why_not_remaining(options.selection.scope));
  }
  if (const std::string why = why_no_limits(options.selection.scope); !why.empty()) {
    if (p.min_ratio > 0) refuse("min_ratio", why);
    if (p.max_ratio < 1) refuse("max_ratio", why);
    if (!p.overrides.empty()) refuse("overrides", why);
  }
  if (p.schedule) check_along_schedule(p, options, at);
  if (p.iterations.value_or(1) > 1) refuse("iterations", why_not_in_steps(options));
  if (p.remove && options.apply == Apply::cut)
    refuse("remove", "lets go of masks, and what is cut has none: apply is cut");
}

void check_ratios(double min_ratio, double max_ratio, const Place& at) {
  if (max_ratio < min_ratio)
    (at / "max_ratio").mistake("found ", max_ratio, ", expected at least min_ratio: ", min_ratio);
}

void check_ratios(const PruneConfig& p, const Place& at) {
  check_ratios(p.min_ratio, p.max_ratio, at);
  for (size_t i = 0; i < p.overrides.size(); ++i)
    check_ratios(p.overrides[i].min_ratio.value_or(p.min_ratio),
                 p.overrides[i].max_ratio.value_or(p.max_ratio), at / "overrides" / i);
}

Type<LimitsConfig> limits_type() {
  const char* as_prune = "as in prune, whose limit it replaces for these layers";
  return object<LimitsConfig>(
      {field("layers", &LimitsConfig::layers, list_of(text(), {.from = 1}),
             "names of layers, of channels those that make them, or of what they lie under, as in include")
           .required(),
       field("min_channels", &LimitsConfig::min_channels, whole(1), as_prune),
       field("min_ratio", &LimitsConfig::min_ratio, number(share), as_prune),
       field("max_ratio", &LimitsConfig::max_ratio, number(share), as_prune)});
}

/// "2:4", two numbers of a few digits.
bool is_n_of_m(const std::string& name) {
  const size_t colon = name.find(':');
  const auto is_number = [](const std::string& text) {
    return !text.empty() && text.size() <= 4 && text[0] != '0' &&
           std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  };
  return colon != std::string::npos && is_number(name.substr(0, colon)) && is_number(name.substr(colon + 1));
}

Type<std::string> unit_type() {
  Names names = unit_names();
  std::erase(names, "n:m");
  Type<std::string> type = one_of_or(names, "[1-9][0-9]*:[1-9][0-9]*", is_n_of_m, "n:m, such as 2:4");
  type.read = [read = type.read](const Json& json, const Place& at) {
    const std::string name = read(json, at);
    try {
      unit_named(name);
    } catch (const UsageError&) {
      at.unexpected(json, "n:m with 0 < n < m, such as 2:4");
    }
    return name;
  };
  return type;
}

}  // namespace

namespace {

/// `"remove_dead": true` is all that a stage needs to say, and next to nothing goes with it.
Type<PruneConfig> with_dead_channels(Type<PruneConfig> type) {
  PruneConfig removes;
  removes.unit = "channel";
  removes.remove_dead = true;
  const Json plain = type.write(removes);
  type.read = [read = type.read, plain](const Json& json, const Place& at) {
    if (!json.is_object() || !json.contains("remove_dead") || !json["remove_dead"].is_boolean())
      return read(json, at);
    Json whole = json;
    if (whole["remove_dead"] == false) {
      whole.erase("remove_dead");
      return read(whole, at);
    }
    if (!whole.contains("unit")) whole["unit"] = "channel";
    for (const auto& [name, value] : whole.items())
      if (name != "verify" && name != "reestimate_norm" && plain.contains(name) && value != plain[name])
        (at / name.c_str())
            .mistake("says nothing beside 'remove_dead', by which goes what is dead, and nothing is ranked");
    return read(whole, at);
  };
  return type;
}

}  // namespace

Type<PruneConfig> prune_type() {
  const auto with = [](Names names, const char* one_more) {
    names.push_back(one_more);
    return names;
  };
  const Names channel = {"channel"}, wide = {"filter", "row", "channel"},
              several = {"weight", "filter", "row", "column", "kernel", "block", "channel"},
              emptied = {"weight", "filter", "row", "column", "kernel", "block"},
              counted = with(emptied, "channel"), masked = with(emptied, "layer"),
              scored = with(masked, "channel");
  const Bounds count = {.above = 0};
  return with_dead_channels(object<PruneConfig>(
      {field("unit", &PruneConfig::unit, unit_type(),
             "what lives or dies together: a weight; a filter of a convolution, which is a row of a linear "
             "layer's matrix; a column, all that reads one input of a layer; a kernel between one input and "
             "one output; a block of the matrix of a layer's weights; a complete layer; a channel, with all "
             "that makes and reads it. Of n:m, such as 2:4, n of each m weights along the inputs stay, in "
             "the order that files have them"),
       field("block", &PruneConfig::block, list_of(whole(1, 4096), {.from = 2, .to = 2}),
             "rows and columns of a block of the matrix [outputs, kernel x inputs]; at its edges less")
           .only_for({"block"})
           .required(),
       field("criterion", &PruneConfig::criterion,
             name_or_options(criteria(), &CriterionConfig::type, &CriterionConfig::extra, "the criterion"),
             "score of a unit; the lowest go (`espalier help criteria`)"),
       field("pad", &PruneConfig::pad, boolean(),
             "whether m need not divide a layer's inputs: zeros fill up the last of each row, and are the "
             "first to go")
           .only_for({"n:m"}),
       field("scope", &PruneConfig::scope, one_of(scopes().names()),
             help_with_rows("which units are ranked against each other, and what of each layer goes",
                            scopes())),
       field("sparsity", &PruneConfig::sparsity, number(share), "share of the units that goes")
           .only_for(masked),
       field("sparsity_of", &PruneConfig::sparsity_of, map_of("layer", number(share)),
             "sparsities of some layers' own, by their names or that of what they lie under, as in include: "
             "{\"fc1\": 0.98, \"conv*\": 0.9}; of several that mean a layer, the last counts. 'sparsity' is "
             "of the others then. Where no unit is ranked against another layer's: scope " +
                 enumerated(scopes().names_where([](const Scope& one) { return one.within_layers(); })))
           .only_for(emptied),
       field("of", &PruneConfig::of, one_of(of_names()),
             "what sparsity is a share of: all units of the original network, those that are pruned already "
             "among them, or those that remain. In iterations the same share of what is left goes each time")
           .only_for(masked),
       field("threshold", &PruneConfig::threshold, number(not_negative), "what scores below it goes")
           .only_for(scored),
       field("quantile", &PruneConfig::quantile, number(share),
             "what scores below this quantile of the scores goes")
           .only_for(scored),
       field("ratio", &PruneConfig::ratio, number(share),
             "share of the channels, as the stage finds them, that goes; with round_to, at least")
           .only_for(channel),
       field("speedup", &PruneConfig::speedup, number({.from = 1}),
             "MACs, as the stage finds the network, over MACs after, at least")
           .only_for(channel),
       field("macs", &PruneConfig::macs, number(count), "max multiply-accumulates of one image")
           .only_for(channel),
       field("parameters", &PruneConfig::parameters, number(count), "max parameters").only_for(channel),
       field("bytes", &PruneConfig::bytes, number(count),
             "max bytes of parameters and statistics, as they lie in memory; the model's file, whose size a "
             "run's table shows, is longer by its header, of some kilobytes")
           .only_for(channel),
       field("latency_ms", &PruneConfig::latency_ms, number(count),
             "max milliseconds for one image, measured on this machine")
           .only_for(channel),
       field("remove_dead", &PruneConfig::remove_dead, boolean(),
             "instead of a target: channels go that masks have killed, those that nothing reads, or that say "
             "the same to "
             "every image; the network puts out what it did")
           .only_for(channel),
       field("include", &PruneConfig::include, list_of(text()),
             "names of layers, or of what they lie under: layer1 is layer1.0.conv1, not layer10.0.conv1; * "
             "stands for any characters, ? for one: fc* is fc1 and fc2; empty: all, but the filters of the "
             "network's output, which are pruned only where they are included by name, without * and ?"),
       field("exclude", &PruneConfig::exclude, list_of(text()),
             "the same, of layers to leave out; of channels, those that make them"),
       field(
           "apply", &PruneConfig::apply, one_of(apply_names()),
           "what becomes of units that go: zero, and held there by a mask; or cut, taken out of the network, "
           "which is only for channels; without it, channels are cut, all others zero"),
       field("batches", &PruneConfig::batches, whole(1),
             "training batches for a criterion that looks at data (obd: single images), each used at most "
             "once; without it, what the criterion needs"),
       field("reduction", &PruneConfig::reduction, one_of(reduction_names()),
             "how the scores of what goes with a channel become one")
           .only_for(channel),
       field("normalizer", &PruneConfig::normalizer, one_of(normalizer_names()),
             "what the scores of a group of channels, or those of a layer where several are ranked together, "
             "are divided by before they are; without it, the criterion's own, of weights none")
           .only_for(several),
       field("min_channels", &PruneConfig::min_channels, whole(1),
             "channels or filters of a layer that always stay; without it, of channels 8 or a tenth, "
             "whichever is more")
           .only_for(wide),
       field("min_ratio", &PruneConfig::min_ratio, number(share),
             "share of a layer's units that goes in any case, in the end, as part of the target")
           .only_for(counted),
       field("max_ratio", &PruneConfig::max_ratio, number(share), "max share of a layer's units that may go")
           .only_for(counted),
       field("overrides", &PruneConfig::overrides, list_of(limits_type()),
             "limits for some layers; of several, the last counts")
           .only_for(counted),
       field("round_to", &PruneConfig::round_to, whole(1, 1024),
             "a layer that loses channels or filters keeps a multiple of this, rounded down, so that the "
             "target is still reached")
           .only_for(wide),
       field(
           "iterations", &PruneConfig::iterations, whole(1, 10'000),
           "selections in which the target is reached; scores are taken anew before each; without it, 1, or "
           "what the criterion is meant for: synflow 100, in each of which the same share of what is left "
           "goes")
           .only_for(scored),
       field("verify", &PruneConfig::verify, boolean(),
             "compare the cut network with the masked one on a batch, and count MACs and parameters again")
           .only_for(channel),
       field("reestimate_norm", &PruneConfig::reestimate_norm, whole(0), reestimate_help),
       field("schedule", &PruneConfig::schedule, prune_schedule_type(), "when it acts; only inside `train`"),
       field("allow_empty", &PruneConfig::allow_empty, boolean(),
             "whether a layer may lose all its units, which is an error otherwise")
           .only_for(emptied),
       field("hold", &PruneConfig::hold, boolean(),
             "inside `train`: whether what goes is held at zero; else each act only sets it to zero, "
             "training may bring it back, and what the last act takes is held (He et al.: Soft Filter "
             "Pruning, IJCAI 2018)")
           .only_for(emptied),
       field("rewind", &PruneConfig::rewind, text(),
             "name of an earlier stage: all that is not pruned, and norms' statistics, go back to what that "
             "stage ended with (Frankle, Carbin: The Lottery Ticket Hypothesis, ICLR 2019); an evaluate "
             "stage ends with what it began with")
           .only_for(with(masked, "n:m")),
       field(
           "reinitialize", &PruneConfig::reinitialize, boolean(),
           "whether all that is not pruned, and norms' statistics, begin anew, at random and not as the run "
           "began: what a lottery ticket is held to; `\"sparsity\": 0` keeps the masks that are there")
           .only_for(with(masked, "n:m")),
       field("remove", &PruneConfig::remove, boolean(),
             "at the stage's end, let go of the masks: zeros stay, and later training may change them")},
      {.variant = "unit",
       .exactly_one = {{"sparsity", "threshold", "quantile", "ratio", "speedup", "macs", "parameters",
                        "bytes", "latency_ms", "remove_dead"}},
       .kind_of = [](const std::string& unit) -> std::string {
         return unit.find(':') == std::string::npos ? unit : "n:m";
       },
       .check =
           [](const PruneConfig& p, const Place& at) {
             if (p.remove_dead.value_or(false)) return;
             check_initial(p, at / "schedule" / "initial");
             check_ratios(p, at);
             check_pieces(p, at);
             if (p.rewind && p.reinitialize)
               (at / "reinitialize")
                   .mistake(
                       "makes new weights, and 'rewind' goes back to old ones: expected the one or the "
                       "other");
             const bool by_layer = scopes().named(p.scope).within_layers();
             const auto across =
                 scopes().names_where([](const Scope& scope) { return !scope.within_layers(); });
             if (p.normalizer && (p.threshold || (p.unit != "channel" && by_layer)))
               (at / "normalizer")
                   .mistake("is for units that are ranked over several layers: scope ", enumerated(across),
                            ", and sparsity or quantile");
           }}));
}

Type<PenaltyOptions> regularize_type() {
  const auto with = [](const char* option) { return penalties().names_with(option); };
  const auto take_defaults = [](PenaltyOptions& o) {
    o.extra = o.extra.with_defaults(penalties().named(o.type).extra, o.type);
  };
  const std::vector<Field<PenaltyOptions>> fields = {
      field("type", &PenaltyOptions::type, one_of(penalties().names()),
            help_with_rows("the penalty", penalties()))
          .required(),
      field("weight", &PenaltyOptions::weight, number(positive), "its factor").only_for(with("weight")),
      field("ratio", &PenaltyOptions::ratio, number(share),
            "share of each group's channels that is pushed out")
          .only_for(with("ratio")),
      field("growth", &PenaltyOptions::growth, number(positive), "what the coefficient grows by")
          .only_for(with("growth")),
      field("every", &PenaltyOptions::every, whole(1), "steps between").only_for(with("every")),
      field("max", &PenaltyOptions::max, number(positive), "the largest coefficient").only_for(with("max")),
      field("include", &PenaltyOptions::include, list_of(text()),
            "names of layers that make the channels, as in prune; empty: all")
          .only_for(with("include")),
      field("exclude", &PenaltyOptions::exclude, list_of(text()), "the same, of layers to leave out")
          .only_for(with("exclude"))};
  return object<PenaltyOptions>(with_extra_fields(fields, penalties(), &PenaltyOptions::extra),
                                {.renamed = {{"most", "max"}}, .defaults = take_defaults});
}

}  // namespace espalier
