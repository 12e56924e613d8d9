// The declarations: each field of the config once. Relations between fields stand after the fields of their
// object.
#include "espalier/run/config.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>

#include "espalier/config/extra_fields.h"
#include "espalier/config/json.h"
#include "espalier/config/overrides.h"
#include "espalier/config/plain_json.h"
#include "espalier/core/reason.h"
#include "espalier/nn/graph_module.h"
#include "espalier/run/checkpoint.h"
#include "espalier/run/config_parts.h"
#include "espalier/run/pruning.h"
#include "espalier/run/run_folder.h"
#include "espalier/run/unregistered.h"
#include "espalier/run/weights_origin.h"
#include "espalier/train/callbacks.h"
#include "espalier/train/loss.h"
#include "espalier/train/prune_event.h"
#include "espalier/util/home.h"
#include "espalier/util/input_file.h"
#include "espalier/util/interrupt.h"
#include "espalier/util/mistakes.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

using namespace schema;

// --- stages: train ---

Field<OptimizerConfig> betas() {
  const auto type = list_of(number(share_below_1), {2, 2});
  return Field<OptimizerConfig>(
             "betas", "decay of the means of the gradient and of its square", type,
             [=](const Json& json, const Place& at, OptimizerConfig& o) {
               const std::vector<double> values = type.read(json, at);
               o.beta1 = values[0];
               o.beta2 = values[1];
             },
             [](const OptimizerConfig& o) {
               return Json::array({o.beta1, o.beta2});
             })
      .only_for(optimizers().names_with("betas"));
}

Type<OptimizerConfig> optimizer_type() {
  const auto with = [](const char* option) { return optimizers().names_with(option); };
  const std::vector<Field<OptimizerConfig>> fields = {
      field("type", &OptimizerConfig::type, one_of(optimizers().names()),
            "what turns gradients into steps; `espalier help optimizers`")
          .required(),
      field("lr", &OptimizerConfig::lr, number(positive), "learning rate").required(),
      field(
          "lr_of", &OptimizerConfig::lr_of, map_of("layer or kind", number(positive)),
          "rates of layers, by their names or that of what they lie under, as in prune's include, or of "
          "kinds: "
          "{\"fc\": 0.01}; of several that mean a parameter, the last counts. The schedule scales all rates "
          "alike"),
      field("momentum", &OptimizerConfig::momentum, number(share_below_1),
            "share of the last step that is kept")
          .only_for(with("momentum")),
      field("nesterov", &OptimizerConfig::nesterov, boolean(), "look ahead by the momentum")
          .only_for(with("nesterov")),
      field("weight_decay", &OptimizerConfig::weight_decay, number(not_negative),
            "pull towards 0; adamw's is apart from the gradient"),
      field("decay", &OptimizerConfig::decay, map_of("layer or kind", number(not_negative)),
            "weight decay of kinds of parameters, norm (scales and shifts), bias or embedding, or of "
            "layers, as "
            "lr_of has them, in weight_decay's place: {\"norm\": 0, \"bias\": 0}; the last that means a "
            "parameter counts"),
      betas(),
      field("eps", &OptimizerConfig::eps, number(positive), "added to the denominator").only_for(with("eps")),
      field("clip_norm", &OptimizerConfig::clip_norm, number(not_negative),
            "largest norm of the gradient of all weights together; 0: any")};
  return object<OptimizerConfig>(
      with_extra_fields(fields, optimizers(), &OptimizerConfig::extra),
      {.defaults =
           [](OptimizerConfig& o) {
             const OptimizerInfo& info = optimizers().named(o.type);
             o.weight_decay = info.weight_decay;
             o.extra = o.extra.with_defaults(info.extra, info.name);
           },
       .check =
           [](const OptimizerConfig& o, const Place& at) {
             if (o.nesterov && o.momentum == 0)
               (at / "nesterov").fail("found true, which needs a momentum above 0");
           }});
}

Type<ScheduleOptions> schedule_type() {
  const auto with = [](const char* option) { return learning_rate_schedules().names_with(option); };
  const std::vector<Field<ScheduleOptions>> fields = {
      field("type", &ScheduleOptions::type, one_of(learning_rate_schedules().names()),
            help_with_rows("how the learning rate changes", learning_rate_schedules()))
          .required(),
      field("step_size", &ScheduleOptions::step_size, whole(1), "epochs between drops")
          .required()
          .only_for(with("step_size")),
      field("milestones", &ScheduleOptions::milestones, list_of(whole(1), {.from = 1}), "epochs of the drops")
          .required()
          .only_for(with("milestones")),
      field("gamma", &ScheduleOptions::gamma, number(positive), "factor of a drop").only_for(with("gamma")),
      field("min_lr", &ScheduleOptions::min_lr, number(not_negative), "where it ends")
          .only_for(with("min_lr")),
      field("max_lr", &ScheduleOptions::max_lr, number(not_negative), "the peak; 0: the optimizer's lr")
          .only_for(with("max_lr")),
      field("pct_start", &ScheduleOptions::pct_start, number(share), "share of the steps that climb")
          .only_for(with("pct_start")),
      field("cycle_momentum", &ScheduleOptions::cycle_momentum, boolean(),
            "momentum (adam: beta1) falls from 0.95 to 0.85 as the rate climbs, and returns")
          .only_for(with("cycle_momentum")),
      field("warmup_steps", &ScheduleOptions::warmup_steps, whole(0),
            "steps over which a factor climbs from 0 to 1, times the rate of the schedule, which goes by all "
            "steps from the first on: cosine has fallen by then"),
      field("warmup_epochs", &ScheduleOptions::warmup_epochs, number(not_negative),
            "the same in epochs; 0.5 is half of one")};
  return object<ScheduleOptions>(
      with_extra_fields(fields, learning_rate_schedules(), &ScheduleOptions::extra),
      {.defaults =
           [](ScheduleOptions& s) {
             s.extra = s.extra.with_defaults(learning_rate_schedules().named(s.type).extra, s.type);
           },
       .check =
           [](const ScheduleOptions& s, const Place& at) {
             const auto& m = s.milestones;
             if (std::adjacent_find(m.begin(), m.end(), std::greater_equal<>()) != m.end()) {
               (at / "milestones")
                   .mistake("found ", Json(m).dump(), ", expected each to be above the one before");
             }
             if (s.type == "warmup" && s.warmup_steps == 0 && s.warmup_epochs == 0)
               (at / "warmup_steps").fail("found 0, type warmup needs at least 1, or warmup_epochs above 0");
             if (s.warmup_steps > 0 && s.warmup_epochs > 0)
               (at / "warmup_epochs")
                   .fail("found ", s.warmup_epochs, ", and warmup_steps says it already: ", s.warmup_steps);
           }});
}

Type<EarlyStopConfig> early_stop_type() {
  return object<EarlyStopConfig>({field("patience", &EarlyStopConfig::patience, whole(1),
                                        "evaluations without improvement before it stops"),
                                  field("min_delta", &EarlyStopConfig::min_delta, number(not_negative),
                                        "points of validation accuracy that count as improvement")});
}

Type<CallbackConfig> callback_type() {
  Type<std::string> name = one_of(callbacks().names());
  if (callbacks().names().empty()) {
    name.expected = "one that the program has registered";
    name.read = [](const Json& json, const Place& at) -> std::string {
      at.fail(
          "found ", in_words(json),
          ", but this program has registered no callback: one that links the library may (docs/library.md)");
    };
  }
  return object<CallbackConfig>(
      with_extra_fields<CallbackConfig>({field("type", &CallbackConfig::type, name,
                                               help_with_rows("the name it was registered by", callbacks()))
                                             .required()},
                                        callbacks(), &CallbackConfig::extra),
      {.defaults = [](CallbackConfig& c) {
        if (const CallbackInfo* info = callbacks().find(c.type))
          c.extra = c.extra.with_defaults(info->extra, info->name);
      }});
}

Type<TrainConfig> train_type() {
  return object<TrainConfig>(
      {field("epochs", &TrainConfig::epochs, whole(1), "passes over the training images"),
       field("steps", &TrainConfig::steps, whole(1), "optimizer steps, instead of epochs"),
       field("optimizer", &TrainConfig::optimizer, optimizer_type(), "what makes a step of a gradient")
           .required(),
       field("schedule", &TrainConfig::schedule, schedule_type(), "the learning rate over time"),
       field("freeze", &TrainConfig::freeze, list_of(text()),
             "names of layers that learn nothing, or of what they lie under, as in prune's include; norms "
             "among them normalise by their running statistics and keep them"),
       field("loss", &TrainConfig::loss,
             name_or_options(losses(), &LossConfig::type, &LossConfig::extra, "what is made small"),
             help_with_rows("what is made small", losses())),
       field("label_smoothing", &TrainConfig::label_smoothing, number(share_below_1),
             "share of the target that training spreads over all classes"),
       field("ema", &TrainConfig::ema, number(share_below_1),
             "decay of a moving average of the weights, over about 1/(1 - ema) steps, which every evaluation "
             "measures and which takes their place at the end; 0: none"),
       field("accumulate", &TrainConfig::accumulate, whole(1, 1'000'000),
             "batches whose mean gradient makes a step"),
       field("prune", &TrainConfig::prune, prune_type(), "a pruner that acts while training"),
       field("regrow", &TrainConfig::regrow, regrow_type(), "masks that move while it trains"),
       field("regularize", &TrainConfig::regularize, regularize_type(),
             "a penalty that prepares for pruning"),
       field("distill", &TrainConfig::distill, distill_type(),
             "learn from a teacher's answers, too (docs/distillation.md)"),
       field("callbacks", &TrainConfig::callbacks, list_of(callback_type()),
             "callbacks that a program which links the library has registered, in their order: "
             "docs/library.md"),
       field("log_every", &TrainConfig::log_every, whole(1), "steps between rows of metrics.jsonl"),
       field("eval_every", &TrainConfig::eval_every, whole(1), "epochs between evaluations"),
       field("early_stop", &TrainConfig::early_stop, early_stop_type(),
             "stop when validation accuracy no longer improves"),
       field("checkpoint_every", &TrainConfig::checkpoint_every, number(not_negative),
             "seconds between checkpoints inside an epoch; 0: only at its end"),
       field("reestimate_norm", &TrainConfig::reestimate_norm, whole(0), reestimate_help)},
      {.exactly_one = {{"epochs", "steps"}}, .check = [](const TrainConfig& t, const Place& at) {
         if (t.schedule.min_lr > t.optimizer.lr) {
           (at / "schedule" / "min_lr")
               .mistake("found ", t.schedule.min_lr,
                        ", expected at most the optimizer's lr: ", t.optimizer.lr);
         }
         /// Of what acts while it trains: that it does so within the stage.
         const auto check_last = [&](const std::string& in, double last, const Place& last_at) {
           if (in == "steps" && t.steps && last >= static_cast<double>(*t.steps))
             last_at.fail("found ", last, ", but the last of ", *t.steps, " steps is ", *t.steps - 1);
           if (in == "epochs" && t.epochs && last > static_cast<double>(*t.epochs))
             last_at.fail("found ", last, ", but the stage has ", *t.epochs,
                          *t.epochs == 1 ? " epoch" : " epochs");
         };
         if (t.regrow)
           check_last(t.regrow->in, t.regrow->end.value_or(t.regrow->begin),
                      at / "regrow" / (t.regrow->end ? "end" : "begin"));
         if (!t.prune) return;
         const Place schedule = at / "prune" / "schedule";
         if (!t.prune->schedule) schedule.fail("missing, a pruner inside 'train' needs one");
         const PruneScheduleConfig& when = *t.prune->schedule;
         const bool in_table = !when.table.empty();
         const double last = in_table ? when.table.back().first : when.end.value_or(when.begin);
         const Place last_at = in_table ? schedule / "table" / (when.table.size() - 1) / 0
                                        : schedule / (when.end ? "end" : "begin");
         check_last(when.in, last, last_at);
       }});
}

Type<EvaluateConfig> evaluate_type() {
  return object<EvaluateConfig>(
      {field("flip", &EvaluateConfig::flip, boolean(),
             "logits are the mean of those of the image and of its mirror image"),
       field("reestimate_norm", &EvaluateConfig::reestimate_norm, whole(0), reestimate_help)});
}

// --- the config ---

void check_stage(const StageConfig& s, const Place& at) {
  if (s.prune && s.prune->schedule)
    (at / "prune" / "schedule").fail("is for a pruner inside 'train', this one acts at once");
  if (s.prune && !s.prune->hold)
    (at / "prune" / "hold").fail("is for a pruner inside 'train', this one acts once, and what goes is held");
  if (s.prune && needs_of(*s.prune) == Needs::movement)
    (at / "prune" / "criterion")
        .fail("found \"", s.prune->criterion.type,
              "\", which goes by what a stage's steps add up to: expected it in a pruner inside 'train'");
  if (s.train && s.train->prune && s.train->prune->rewind)
    (at / "train" / "prune" / "rewind").fail("is for a stage that prunes at once");
  if (s.train && s.train->prune && s.train->prune->reinitialize)
    (at / "train" / "prune" / "reinitialize").fail("is for a stage that prunes at once");
}

/// What a list of stages has: a stage, or a round of them.
struct StageEntry : StageConfig {
  std::optional<int64_t> repeat = {};
  std::optional<std::vector<StageConfig>> stages = {};
};

template <class Stage>
std::vector<Field<Stage>> stage_fields() {
  return {field("name", &StageConfig::name, file_name(),
                "of the stage, used once; its weights go to models/NAME.safetensors")
              .required(),
          field("train", &StageConfig::train, train_type(), "trains"),
          field("prune", &StageConfig::prune, prune_type(), "prunes at once"),
          field("evaluate", &StageConfig::evaluate, evaluate_type(), "only measures")};
}

Type<StageConfig> stage_type() {
  return object<StageConfig>(
      stage_fields<StageConfig>(),
      {.exactly_one = {{"train", "prune", "evaluate"}}, .later = {"export"}, .check = check_stage});
}

/// Of a round's stages, which are described as all are.
Type<std::vector<StageConfig>> stages_of_round() {
  Type<std::vector<StageConfig>> stages = list_of(stage_type(), {.from = 1});
  stages.is_again = true;
  stages.json_schema["items"] = {{"$ref", "#/properties/stages/items"}};
  return stages;
}

Type<StageEntry> stage_entry_type() {
  std::vector<Field<StageEntry>> fields = stage_fields<StageEntry>();
  fields.push_back(field("repeat", &StageEntry::repeat, whole(1, 1000),
                         "how often the stages of a round are run, one time after the other"));
  fields.push_back(field("stages", &StageEntry::stages, stages_of_round(),
                         "makes a round of this stage: stages as these, each with a name of its own. They "
                         "are run as NAME1.A, NAME1.B, ..., NAME2.A, ..., by which names rewind and a run's "
                         "files know them"));
  return object<StageEntry>(
      fields, {.exactly_one = {{"train", "prune", "evaluate", "stages"}},
               .later = {"export"},
               .check = [](const StageEntry& s, const Place& at) {
                 check_stage(s, at);
                 if (s.stages && !s.repeat)
                   (at / "repeat").fail("missing, expected how often the round's ", "stages are run");
                 if (s.repeat && !s.stages) (at / "repeat").fail("is for a round, which has 'stages'");
               }});
}

/// Stages in the order in which they run: rounds are taken apart.
Type<std::vector<StageConfig>> stage_list() {
  constexpr size_t most_stages = 1000, longest_name = 100;
  const auto entries = list_of(stage_entry_type(), {.from = 1});
  const auto plain = list_of(stage_type(), {.from = 1});
  return {entries,
          [=](const Json& json, const Place& at) {
            std::vector<StageConfig> stages;
            const auto all = entries.read(json, at);
            for (size_t i = 0; i < all.size(); ++i) {
              const StageEntry& entry = all[i];
              if (!entry.stages) {
                stages.push_back(entry);
                stages.back().pointer = (at / i).pointer();
                continue;
              }
              for (int64_t time = 1; time <= entry.repeat.value_or(1); ++time)
                for (size_t inner = 0; inner < entry.stages->size(); ++inner) {
                  const Place place = at / i / "stages" / inner;
                  if (stages.size() == most_stages)
                    (at / i / "repeat")
                        .fail("found ", entry.repeat.value_or(1), ", which makes more than ", most_stages,
                              " stages");
                  stages.push_back((*entry.stages)[inner]);
                  stages.back().name = join(entry.name, time, ".", stages.back().name);
                  stages.back().pointer = place.pointer();
                  if (stages.back().name.size() > longest_name && (place / "name").is_sound())
                    (place / "name")
                        .mistake("makes \"", stages.back().name, "\" of the round's, expected at ", "most ",
                                 longest_name, " letters");
                }
            }
            return stages;
          },
          plain.write};
}

void check_images(const Config& config, const Place& at) {
  if (config.model.input.axes() == 0) return;  // of a file that cannot be read, which has been said
  if (const auto& normalize = config.data.normalize; normalize) {
    const auto channels = static_cast<size_t>(config.model.input[2]);
    if (normalize->mean.size() != channels) {
      (at / "data" / "normalize" / "mean")
          .mistake("found ", normalize->mean.size(),
                   " values, expected one per channel of the model's input: ", channels);
    }
  }
  if (const auto misfit = find_misfit(config.data.augment, config.model.input))
    (at / "data" / "augment" / misfit->place / misfit->field).mistake(misfit->message);
}

}  // namespace

Place place_of_stage(const Config& config, size_t stage, Place at) {
  const std::string pointer = stage_pointer(config, stage);  // of names and numbers, none of them escaped
  for (size_t from = 1; from < pointer.size();) {
    const size_t end = std::min(pointer.find('/', from), pointer.size());
    at = at / pointer.substr(from, end - from);
    from = end + 1;
  }
  return at;
}

namespace {

void check_stage_names(const Config& config, const Place& at) {
  const std::vector<StageConfig>& stages = config.stages;
  for (size_t i = 0; i < stages.size(); ++i) {
    const std::string& name = stages[i].name;
    const Place named = place_of_stage(config, i, at) / "name";
    if (!named.is_sound()) continue;
    if (name.ends_with(".best"))
      named.mistake("found \"", name, "\", but .best is the ending of a stage's best model");
    for (size_t j = 0; j < i; ++j)
      if (stages[j].name == name)
        named.mistake("\"", name, "\" is the name of ", place_of_stage(config, j, at).shown(), ", too");
  }
}

/// The first of the stages from `begin` to before `end` that cuts channels; null: none does.
const StageConfig* cut_between(const std::vector<StageConfig>& stages, size_t begin, size_t end) {
  for (size_t i = begin; i < end; ++i)
    if (const PruneConfig* cuts = stages[i].pruning(); cuts && cuts_channels(*cuts)) return &stages[i];
  return nullptr;
}

/// A stage goes back to the weights of one that comes before it, and that has the same shapes.
void check_rewinds(const Config& config, const Place& at) {
  const std::vector<StageConfig>& stages = config.stages;
  for (size_t i = 0; i < stages.size(); ++i) {
    if (!stages[i].prune || !stages[i].prune->rewind) continue;
    const Place place = place_of_stage(config, i, at) / "prune" / "rewind";
    if (!place.is_sound()) continue;
    const std::string& wanted = *stages[i].prune->rewind;
    Names before;
    for (size_t j = 0; j < i; ++j) before.push_back(stages[j].name);
    const auto found = std::ranges::find(before, wanted);
    if (found == before.end()) {
      if (before.empty())
        place.mistake("found \"", wanted, "\", but no stage comes before this one");
      else
        place.mistake("found \"", wanted, "\", expected an earlier stage", suggest(wanted, before));
      continue;
    }
    if (const auto* cuts = cut_between(stages, static_cast<size_t>(found - before.begin()) + 1, i))
      place.mistake("found \"", wanted, "\", whose weights have other shapes than those here: stage '",
                    cuts->name, "' cuts channels in between");
  }
}

/// New weights have the shapes that the config's model begins with.
void check_reinitialized(const Config& config, const Place& at) {
  const std::vector<StageConfig>& stages = config.stages;
  for (size_t i = 0; i < stages.size(); ++i) {
    if (!stages[i].prune || !stages[i].prune->reinitialize) continue;
    if (const auto* cuts = cut_between(stages, 0, i))
      (place_of_stage(config, i, at) / "prune" / "reinitialize")
          .mistake("makes weights of the shapes that the model began with: stage '", cuts->name,
                   "' cuts channels before");
  }
}

/// What holds between parts of the config that are sound.
void check_config(const Config& config, const Place& at) {
  if ((at / "model").is_sound() && (at / "data").is_sound()) check_images(config, at);
  check_stage_names(config, at);
  check_rewinds(config, at);
  check_reinitialized(config, at);
  check_masks_to_move(config, at);
  check_teacher_stages(config, at);
  if (!(at / "data").is_sound() || config.data.validation > 0) return;
  if (!config.data.validation) return;  // the folder decides: check_early_stop in build.h
  for (size_t i = 0; i < config.stages.size(); ++i) {
    const Place early_stop = place_of_stage(config, i, at) / "train" / "early_stop";
    if (config.stages[i].train && config.stages[i].train->early_stop && early_stop.is_sound())
      early_stop.mistake("needs images to judge by: /data/validation above 0");
  }
}

Type<Config> declared_config() {
  return object<Config>(
      {field("name", &Config::name, file_name(),
             "of the run, whose folder is runs/NAME; without it, the file's name"),
       field("seed", &Config::seed, whole(0, (int64_t{1} << 53) - 1), "of everything that is drawn"),
       field("precision", &Config::precision, one_of({"f32", "tf32", "bf16"}),
             "of products and convolutions: f32 (exact), tf32 (what a card takes) or bf16; the CPU has "
             "only f32"),
       field("model", &Config::model, model_type(), "the network").required(),
       field("data", &Config::data, data_type(), "what it learns from").required(),
       field("stages", &Config::stages, stage_list(), "what is done, one after the other").required()});
}

/// Declared anew after a registry was added to, whose rows it names; what was declared before stays, for
/// those that hold it.
const Type<Config>& config_type() {
  static std::mutex mutex;
  static std::map<int64_t, Type<Config>> declared;
  const std::lock_guard lock(mutex);
  const int64_t made_of = registrations();
  auto found = declared.find(made_of);
  if (found == declared.end()) found = declared.emplace(made_of, declared_config()).first;
  return found->second;
}

}  // namespace

const char* stage_kind_name(StageKind kind) {
  switch (kind) {
    case StageKind::train:
      return "train";
    case StageKind::prune:
      return "prune";
    case StageKind::evaluate:
      return "evaluate";
  }
  return "";
}

StageKind StageConfig::kind() const {
  return train ? StageKind::train : prune ? StageKind::prune : StageKind::evaluate;
}

std::string stage_pointer(const Config& config, size_t stage) {
  const std::string& pointer = config.stages[stage].pointer;
  return pointer.empty() ? join("/stages/", stage) : pointer;
}

const PruneConfig* StageConfig::pruning() const {
  if (prune) return &*prune;
  return train && train->prune ? &*train->prune : nullptr;
}

namespace {

/// Whether its classes are the model's.
bool draws_data(const Json& type) {
  const DatasetInfo* info = type.is_string() ? datasets().find(type) : nullptr;
  return info && info->is_drawn;
}

/// A model that names weights and no type is the network that the file describes, whatever was cut from it.
void take_network_of_weights(Json& json, const Place& at, const BegunRun& begun) {
  if (!json.contains("model") || !json["model"].is_object()) return;
  Json& model = json["model"];
  if (model.contains("type") || !model.contains("weights") || !model["weights"].is_string()) return;
  Json described;
  try {
    const std::string file = expand_home(model["weights"]);
    const ModelConfig network = read_checkpoint_info(file).config.model;
    described = model_type().write(network);
    if (network.type == "graph") described["file"] = model["weights"];
  } catch (const Interrupted&) {
    throw;
  } catch (const std::exception& error) {
    const std::string weights = expand_home(model["weights"]);
    const auto known = begun && json["name"].is_string() ? begun(json["name"], weights) : std::nullopt;
    if (!known)
      (at / "model" / "type")
          .fail("missing, and the weights do not say it: ", printable(reason_of(error), 1000));
    described = model_type().write(known->model);
  }
  for (const char* name : {"hold_zeros", "skip"})  // they were of the file that this one began with
    described.erase(name);
  const bool has_new_layers = model.contains("skip") && !model["skip"].empty();
  const Json data = json.value("data", Json::object());
  if (has_new_layers && data.is_object() && !draws_data(data.value("type", Json())))
    described.erase("classes");  // of a new head: the data set's
  described.update(model);
  model = std::move(described);
}

/// An ONNX file is a network, and the weights that it begins with.
void take_network_of_onnx(Json& json) {
  if (!json.contains("model") || !json["model"].is_object()) return;
  Json& model = json["model"];
  if (model.value("type", Json()) != "onnx" || !model.contains("file")) return;
  model["type"] = "graph";
  if (!model.contains("weights")) model["weights"] = model["file"];
}

/// A graph's file says what images it takes and how many outputs it has.
void take_image_of_graph(Json& json, const Place& at) {
  if (!json.contains("model") || !json["model"].is_object()) return;
  Json& model = json["model"];
  if (model.value("type", Json()) != "graph" || !model.contains("file") || !model["file"].is_string()) return;
  try {
    const MetaDevice shapes_alone;
    const auto described = read_graph_module(expand_home(model["file"]));
    const Graph& graph = described->graph();
    if (!model.contains("input")) model["input"] = graph.image().sizes();
    if (!model.contains("classes")) model["classes"] = graph.outputs();
  } catch (const Interrupted&) {
    throw;
  } catch (const std::exception& error) {
    (at / "model" / "file").fail(printable(reason_of(error), 1000));
  }
}

/// Of weights, where the config does not say it; of a run that goes on whatever it was when it began.
void take_normalization(Config& config, const BegunRun& begun) {
  if (!config.model.weights || config.data.normalize) return;
  if (const auto known = begun ? begun(config.name, *config.model.weights) : std::nullopt)
    config.data.normalize = known->data.normalize;
  else
    take_normalization_of_weights(config);
}

/// `of_a_person`: its weights, or `begun`, may say which network it is and how pixels are normalised; what a
/// file holds says that itself.
Config read_config(const std::string& text, const std::string& file,
                   const std::vector<std::string>& overrides, bool of_a_person, const BegunRun& begun,
                   Mistakes& mistakes, const std::string& where = the_command_line) {
  Json json;
  try {
    json = parse_json(of_a_person ? plain_json(text, file) : text, file);
  } catch (const Error& error) {
    fail_usage(error.what());
  }
  Overrides applied{.given = overrides, .where = where};
  Mistakes unset;
  for (size_t i = 0; i < overrides.size(); ++i)
    unset.attempt("", [&] { apply_override(json, config_type(), i, applied); });
  if (!unset.empty()) {  // what they were to mend is not worth a line; the values that others set are
    Mistakes all;
    const Place place(file, applied.set, &all);
    place.attempt([&] { config_type().read(json, place); });
    unset.take(all, [&](const std::string& at) {
      return std::ranges::any_of(applied.set,
                                 [&](const schema::SetValue& value) { return lies_in(at, value.pointer()); });
    });
    unset.report(file);
  }
  const Place place(file, applied.set, &mistakes);
  if (json.is_object()) {
    json.erase("$schema");
    if (!json.contains("name")) json["name"] = std::filesystem::path(file).stem().string();
    if (of_a_person)
      (place / "model").attempt([&] {
        take_network_of_onnx(json);
        take_network_of_weights(json, place, begun);
        take_image_of_graph(json, place);
      });
  }
  Config config;
  if (place.attempt([&] { config = config_type().read(json, place); })) {
    if (of_a_person && (place / "data").is_sound() && (place / "model").is_sound())
      take_normalization(config, begun);
    check_config(config, place);
  }
  if (config.model.classes == 0) config.model.classes = declared_classes(config.model, config.data);
  config.file = file;
  config.notes.insert(config.notes.begin(), applied.notes.begin(), applied.notes.end());
  config.set = std::move(applied.set);
  return config;
}

}  // namespace

namespace {

bool is_config_of_run(const std::filesystem::path& file) {
  const RunFolder folder(file.parent_path());
  return file == folder.config() && folder.has_checkpoint();
}

/// Text of a config that a run has saved: its fields are called as they are now, and its names are known, or
/// else a UsageError says who knows them.
std::string with_names_of_now(const std::string& text, const std::string& file) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (const auto unknown = unregistered_names(json); !unknown.empty())
    fail_usage(file, ": has ", enumerated(unknown),
               ", which this program does not know: the one that registered ",
               unknown.size() == 1 ? "it" : "them", " can go on with it");
  if (!json.is_object() || !json.contains("stages") || !json["stages"].is_array()) return text;
  bool changed = false;
  const Json::json_pointer regularize("/train/regularize");
  for (Json& stage : json["stages"]) {
    if (!stage.is_object() || !stage.contains(regularize) || !stage[regularize].is_object()) continue;
    Json& penalty = stage[regularize];
    if (!penalty.contains("most") || penalty.contains("max")) continue;
    penalty["max"] = penalty["most"];
    penalty.erase("most");
    changed = true;
  }
  return changed ? json.dump() : text;
}

}  // namespace

Config parse_config(const std::string& text, const std::string& file,
                    const std::vector<std::string>& overrides) {
  Mistakes mistakes;
  Config config = read_config(text, file, overrides, false, {}, mistakes);
  mistakes.report(file);
  return config;
}

Config load_config(const std::string& file, const std::vector<std::string>& overrides,
                   const BegunRun& begun) {
  Mistakes mistakes;
  Config config = load_config(file, overrides, begun, mistakes);
  mistakes.report(file);
  return config;
}

Config load_config(const std::string& file, const std::vector<std::string>& overrides, const BegunRun& begun,
                   Mistakes& mistakes, const std::string& where) {
  std::string text;
  try {
    text = read_file(file);
  } catch (const Error& error) {
    fail_usage(error.what());
  }
  if (is_config_of_run(file)) text = with_names_of_now(plain_json(text, file), file);
  return read_config(text, file, overrides, true, begun, mistakes, where);
}

Config parse_saved_config(const std::string& text, const std::string& file) {
  return parse_config(with_names_of_now(text, file), file);
}

Config load_run_config(const std::string& file) {
  return parse_saved_config(plain_json(read_file(file), file), file);  // a person may have commented it
}

DataConfig data_config(const Json& given, const std::string& file,
                       const std::vector<std::string>& overrides) {
  Json json = {{"data", given}};
  Overrides applied{.given = overrides};
  for (size_t i = 0; i < overrides.size(); ++i) {
    apply_override(json, config_type(), i, applied);
    if (json.size() > 1)
      fail_usage("--set ", printable(overrides[i]), ": ", file, " has no config, only data.* can be set");
  }
  const bool is_named = json["data"].contains("type");
  if (!is_named && overrides.empty())
    json["data"]["type"] = datasets().begin()->name;  // any will do, to read the rest
  DataConfig data = data_type().read(json["data"], Place(file, applied.set) / "data");
  if (!is_named) data.type.clear();
  return data;
}

Json config_json(const Config& config) { return config_type().write(config); }

const schema::Description& config_description() { return config_type(); }

Json config_schema() {
  Json schema = {{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"title", "Espalier config"}};
  schema.update(full_json_schema(config_type()));
  schema["properties"]["$schema"] = {{"type", "string"}};
  Json& model = schema["properties"]["model"];
  model.erase("required");
  model["anyOf"] = {{{"required", {"type"}}}, {{"required", {"weights"}}}};
  return schema;
}

}  // namespace espalier
