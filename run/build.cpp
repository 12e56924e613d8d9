#include "espalier/run/build.h"
#include "espalier/run/pruning.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "espalier/config/schema.h"
#include "espalier/core/compute_device.h"
#include "espalier/core/random.h"
#include "espalier/data/datasets.h"
#include "espalier/formats/safetensors.h"
#include "espalier/nn/names.h"
#include "espalier/nn/network.h"
#include "espalier/nn/norm.h"
#include "espalier/nn/state_dict.h"
#include "espalier/run/checkpoint.h"
#include "espalier/run/config_parts.h"
#include "espalier/run/distill.h"
#include "espalier/run/weights_origin.h"
#include "espalier/train/evaluate.h"
#include "espalier/train/regrow_callback.h"
#include "espalier/util/home.h"
#include "espalier/util/mistakes.h"
#include "espalier/util/table.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

// One stream of random numbers for each use of the config's seed; the model's parameters take streams from 0.
enum Stream : uint64_t { shuffling = 1u << 30, holding_out, pruning, dropping, beginning };

uint64_t stream(const Config& config, Stream use) {
  return random_key(static_cast<uint64_t>(config.seed), use);
}

/// "configs/x.json: ", where a mistake is; empty for a config that is of no file.
std::string place_of(const Config& config) { return config.file.empty() ? "" : config.file + ": "; }

/// "x.json: /stages/1 (tuned): ", or as --set called it: "x.json: stages.tuned: "
std::string place_of(const Config& config, size_t stage) {
  const std::string& name = config.stages[stage].name;
  const std::string shown = schema::shown(stage_pointer(config, stage), config.set);
  return place_of(config) + shown +
         (shown.ends_with("." + name) || shown.ends_with("/" + name) ? "" : " (" + name + ")") + ": ";
}

/// What build() returns; its UsageErrors get the config's file before them.
template <class Build>
auto in_file(const Config& config, const Build& build) {
  try {
    return build();
  } catch (const UsageError& error) {
    fail_usage(place_of(config), error.what());
  }
}

/// Whose number of classes the model's is, and what there is to do about it if that is not the data's.
std::string whose_classes(const Config& config) {
  const std::string field = place_of(config) + schema::shown("/model/classes", config.set),
                    hint = skip_head_hint(config);
  return hint.empty() ? field : join("those of ", *config.model.weights, ", or ", field, "; ", hint);
}

/// `notes`: what there is to say of how the data were read.
void check_fit(const Config& config, const Dataset& data, const std::string& place,
               const std::vector<std::string>& notes) {
  const ModelOptions& model = config.model;
  const Shape image{data.height(), data.width(), data.channels()};
  if (model.input != image)
    fail_usage(schema::shown("/model/input", config.set), ": found ", model.input, ", but images of ",
               data.name, " have shape ", image);
  if (model.classes == data.classes()) return;
  std::string found;
  const DatasetInfo* info = datasets().find(config.data.type);
  if (info && info->class_names) {  // which say which is missing or too many
    constexpr size_t max_names = 10;
    const auto& names = data.class_names;
    found = ": ";
    for (size_t i = 0; i < std::min(names.size(), max_names); ++i)
      found += (i ? ", " : "") + printable(names[i], 60);
    if (names.size() > max_names) found += ", ...";
    for (const std::string& note : notes)
      if (note.find(": class folders without images ") != note.npos) found += "; " + note;
  }
  fail(place, ": ", data.name, " has ", data.classes(), data.classes() == 1 ? " class" : " classes",
       ", expected the model's ", model.classes, " (", whose_classes(config), ")", found);
}

/// Where the data set is: a folder or file in `root`, or nowhere where it reads none.
std::filesystem::path place_of(const DataConfig& data, const std::string& root) {
  const DatasetInfo* info = datasets().find(data.type);
  return info && info->reads_files() ? std::filesystem::path(root) / data.path.value_or(info->folder) : "";
}

/// What the config asks of its data set.
DatasetRequest request(const Config& config, const std::string& root = "", const Say& say = {}) {
  return {config.data,
          /*place=*/place_of(config.data, root),
          /*image=*/config.model.input,
          /*classes=*/config.model.classes,
          /*val_validates=*/!config.data.validation,
          say};
}

void check_named(const DataConfig& data) {
  if (data.type.empty())
    fail_usage("names no data set, as it is no run's: say which by --set data.type=",
               datasets().begin()->name, " (`espalier help data` has them)");
}

LoaderOptions evaluation_options(const Config& config) {
  LoaderOptions options{.batch = config.data.batch, .shuffle = false};
  options.device = compute_device();
  if (config.data.normalize) {
    options.mean = config.data.normalize->mean;
    options.std = config.data.normalize->std;
  }
  return options;
}

}  // namespace

void use_precision(const Config& config) {
  if (!config.precision) return;
  const schema::Place place = schema::Place("", config.set) / "precision";
  choose_precision(*config.precision, join(config.file, ": ", place.shown()));
}

std::string data_root(const DataConfig& config, const std::optional<std::string>& given) {
  if (given) return *given;
  if (config.root) return *config.root;
  if (const char* set = std::getenv("ESPALIER_DATA"); set && *set) return expand_home(set);
  return "data";
}

std::string data_place(const Config& config, const std::optional<std::string>& given_root) {
  const std::filesystem::path place = place_of(config.data, data_root(config.data, given_root));
  return place.empty() ? config.data.type : place.string();
}

ImageFolderOptions image_options(const Config& config) { return image_folder_options(request(config)); }

std::vector<std::string> kept_class_names(const Config& config, const Dataset& data) {
  const DatasetInfo* info = datasets().find(config.data.type);
  return info && !info->keeps_class_names ? std::vector<std::string>() : data.class_names;
}

void check_classes(const std::string& checkpoint, const std::vector<std::string>& saved, const Config& config,
                   const Dataset& data, const std::string& place) {
  const std::vector<std::string> found = kept_class_names(config, data);
  if (saved.empty() || found.empty()) return;
  const auto name = [](const std::vector<std::string>& names, size_t at) {
    return at < names.size() ? "'" + printable(names[at]) + "'" : "none";
  };
  for (size_t i = 0; i < std::max(saved.size(), found.size()); ++i)
    ESP_CHECK(i < saved.size() && i < found.size() && saved[i] == found[i], place, ": class ", i, " is ",
              name(found, i), ", expected ", name(saved, i), ", with which ", checkpoint, " was trained");
}

DataSplits build_data(const Config& config, const std::optional<std::string>& given_root, const Say& say) {
  return in_file(config, [&] {
    check_named(config.data);
    DataSplits data = load_dataset(request(config, data_root(config.data, given_root), say));
    check_fit(config, data.train, data_place(config, given_root), data.notes);
    hold_out(data, config.data.validation.value_or(0), stream(config, holding_out));
    if (config.data.batch > data.train.size())
      data.notes.push_back(join("data.batch is ", config.data.batch, ", but ", data.train.name, " has ",
                                data.train.size(), " images: each batch is all of them"));
    return data;
  });
}

void take_classes(Config& config, const std::optional<std::string>& given_root) {
  if (config.model.classes > 0) return;
  config.model.classes = in_file(config, [&] {
    check_named(config.data);
    return count_classes(request(config, data_root(config.data, given_root)));
  });
}

DataSplits labelled_images(const Config& config, const std::vector<std::string>& classes,
                           const std::string& folder, const Say& say) {
  return in_file(config, [&] {
    ImageFolderOptions options = image_options(config);
    options.say = say;
    return load_labelled_images(folder, classes, options);
  });
}

Loader evaluation_loader(const Config& config, const Dataset& data) {
  return in_file(config, [&] { return Loader(data, evaluation_options(config)); });
}

Loader scoring_loader(const Config& config, const Dataset& data, Needs needs) {
  LoaderOptions options = evaluation_options(config);
  if (kind_of(needs).single_images) options.batch = 1;
  options.shuffle = true;
  options.seed = stream(config, pruning);
  return in_file(config, [&] { return Loader(data, options); });
}

std::vector<std::string> batch_notes(const Config& config, const Dataset& data) {
  std::vector<std::string> notes;
  for (const StageConfig& stage : config.stages) {
    const PruneConfig* prune = stage.pruning();
    const Needs needs = prune ? needs_of(*prune) : Needs::weights;
    if (!kind_of(needs).data || !prune->batches) continue;
    const int64_t there = scoring_loader(config, data, needs).batches();
    if (*prune->batches > there)
      notes.push_back(join("stage '", stage.name, "': prune.batches is ", grouped(*prune->batches),
                           ", and the training set has ", grouped(there),
                           kind_of(needs).single_images ? " images" : " batches", ": it looks at each once"));
  }
  return notes;
}

uint64_t pass_key(const Config& config) { return stream(config, dropping); }

uint64_t pruning_key(const Config& config) { return stream(config, pruning); }

Loader training_loader(const Config& config, const Dataset& data) {
  LoaderOptions options = evaluation_options(config);
  options.shuffle = config.data.shuffle;
  options.drop_last = config.data.drop_last;
  options.seed = stream(config, shuffling);
  options.augment = config.data.augment;
  return in_file(config, [&] { return Loader(data, options); });
}

int64_t epoch_steps(const TrainConfig& config, int64_t batches) {
  return (batches + config.accumulate - 1) / config.accumulate;
}

int64_t stage_steps(const TrainConfig& config, int64_t batches) {
  return config.steps ? *config.steps : *config.epochs * epoch_steps(config, batches);
}

StageLength stage_length(const TrainConfig& config, int64_t batches) {
  return {.epoch_steps = epoch_steps(config, batches), .steps = stage_steps(config, batches)};
}

std::unique_ptr<Module> build_model(const Config& config, bool read_weights, WeightsNotes* notes) {
  read_weights = read_weights && config.model.weights;
  if (read_weights && !MetaDevice::active()) {  // weights that do not fit are refused before they take memory
    const MetaDevice shapes_alone;
    build_model(config);
  }
  auto model = in_file(config, [&] { return make_model(config.model, static_cast<uint64_t>(config.seed)); });
  if (!read_weights) return to_compute_device(std::move(model));
  WeightsNotes said =
      load_weights(*config.model.weights, *model,
                   {.hold_zeros = config.model.hold_zeros,
                    .skip = config.model.skip.value_or(std::vector<std::string>{}),
                    .seed = static_cast<uint64_t>(config.seed),
                    .init = config.model.init,
                    .skip_name = place_of(config) + schema::shown("/model/skip", config.set) + ":"});
  if (std::ranges::none_of(config.stages, [](const StageConfig& stage) { return stage.train.has_value(); }))
    said.warnings.clear();
  if (notes) {
    if (const std::string warning = normalization_warning(config); !warning.empty())
      said.warnings.push_back(warning);
    *notes = std::move(said);
  }
  return to_compute_device(std::move(model));
}

std::unique_ptr<Loss> build_loss(const TrainConfig& config) {
  return make_loss(
      {.type = config.loss.type, .label_smoothing = config.label_smoothing, .extra = config.loss.extra});
}

std::unique_ptr<Loss> build_loss(const Config& config) {
  const auto trains = [](const StageConfig& stage) { return stage.train.has_value(); };
  const auto last = std::find_if(config.stages.rbegin(), config.stages.rend(), trains);
  return last == config.stages.rend() ? make_loss({}) : build_loss(*last->train);
}

std::vector<Module*> frozen_layers(const TrainConfig& config, Module& model) {
  std::vector<Module*> frozen;
  for (const auto& [name, layer] : model.layers())
    if (any_means_layer(config.freeze, name)) frozen.push_back(layer);
  return frozen;
}

namespace {

struct ParameterKind {
  const char* name;
  std::vector<Role> roles;
};
const std::vector<ParameterKind>& kinds() {
  static const std::vector<ParameterKind> all{
      {"norm", {Role::scale, Role::shift}}, {"bias", {Role::bias}}, {"embedding", {Role::embedding}}};
  return all;
}

/// Whether an entry of lr_of or decay means it, by its kind or its layer.
bool means_parameter(const std::string& entry, const Parameter& parameter) {
  const auto kind = std::ranges::find(kinds(), entry, &ParameterKind::name);
  if (kind != kinds().end() && std::ranges::count(kind->roles, parameter.role) > 0) return true;
  return means_layer(entry, layer_name(parameter.name));
}

}  // namespace

std::vector<std::string> parameter_kinds() {
  std::vector<std::string> names;
  for (const ParameterKind& kind : kinds()) names.emplace_back(kind.name);
  return names;
}

uint64_t stage_key(const Config& config, size_t stage) {
  return random_key(stream(config, beginning), static_cast<uint64_t>(stage));
}

std::unique_ptr<Optimizer> build_optimizer(const OptimizerConfig& config, Module& model,
                                           const std::vector<Parameter*>& beside) {
  const auto parameters = model.parameters();
  auto all = parameters;
  all.insert(all.end(), beside.begin(), beside.end());
  auto optimizer = make_optimizer(config, all);
  const auto meant_by = [&](const std::string& entry) {
    std::vector<Parameter*> some = parameters;
    std::erase_if(some, [&](const Parameter* p) { return !means_parameter(entry, *p); });
    return some;
  };
  for (const auto& [entry, rate] : config.lr_of) optimizer->scale_rate(meant_by(entry), rate / config.lr);
  for (const auto& [entry, decay] : config.decay) optimizer->set_decay(meant_by(entry), decay);
  return optimizer;
}

std::unique_ptr<Module> network_of_shapes(const Config& config, const std::vector<AxisCut>& history) {
  auto fresh = make_model(config.model, static_cast<uint64_t>(config.seed));
  cut(*fresh, cuts_between(fresh->history, history));
  return to_compute_device(std::move(fresh));
}

double latency_after(const Config& config, const Module& model, const std::vector<AxisCut>& cuts) {
  const auto fresh = network_of_shapes(config, model.history);
  cut(*fresh, cuts);
  return latency_ms(*fresh, config.model.input);
}

namespace {

/// How many batches a stage re-estimates batch norms' statistics from, and who asks for them: a train stage
/// does so for its pruner, too, and takes the larger of the two numbers.
struct Reestimated {
  const char* field;
  int64_t batches;
};
Reestimated reestimated(const StageConfig& stage) {
  const char* own = "reestimate_norm";
  if (stage.evaluate) return {own, stage.evaluate->reestimate_norm};
  if (stage.prune) return {own, stage.prune->reestimate_norm};
  const int64_t pruned = stage.train->prune ? stage.train->prune->reestimate_norm : 0;
  if (pruned > stage.train->reestimate_norm) return {"prune: reestimate_norm", pruned};
  return {own, stage.train->reestimate_norm};
}

/// The first norm that has one value a channel of each image and is not frozen; nothing if there is none.
std::optional<std::string> norm_of_one_value(Module& model, const Shape& input,
                                             const std::vector<std::string>& frozen) {
  const Network network(model, input);
  const Graph& graph = network.graph;
  for (const GraphNode& node : graph.nodes) {
    const Op* op = find_op(node.op);
    const Shape& x = graph.shape(node.inputs[0]);
    if (!op || !op->normalizes_batch || x.elements() != x[-1]) continue;
    if (std::string norm = graph.layer_of(node); !any_means_layer(frozen, norm)) return norm;
  }
  return std::nullopt;
}

/// Whether a stage comes to the last batch of an epoch of `batches`, in training mode.
bool uses_last_batch(const StageConfig& stage, int64_t batches) {
  return reestimated(stage).batches >= batches ||
         (stage.train && stage_steps(*stage.train, batches) >= epoch_steps(*stage.train, batches));
}

/// Error where `freeze`, `lr_of` or `decay` name nothing of the model's, leave nothing to learn or contradict
/// each other.
void check_learning(const TrainConfig& config, Module& model) {
  std::vector<std::string> layers, learning;
  for (const auto& [name, layer] : model.layers()) {
    layers.push_back(name);
    if (!any_means_layer(config.freeze, name)) learning.push_back(name);
  }
  check_layer_entries("train: freeze", config.freeze, layers, "layer");
  if (learning.empty()) fail_usage("train: freeze leaves no layer that learns");
  const auto kinds = parameter_kinds();
  const auto check_groups = [&](const char* list, const auto& entries, const char* what) {
    for (const auto& [entry, value] : entries) {
      // A kind may be named where a model has none of it: recipes are written for several.
      if (std::ranges::count(kinds, entry) > 0) continue;
      auto known = layers;
      known.insert(known.end(), kinds.begin(), kinds.end());
      check_layer_entries(list, {entry}, known, "layer or kind of parameter");
      if (std::ranges::none_of(
              learning, [&frozen = entry](const std::string& layer) { return means_layer(frozen, layer); }))
        fail_usage(list, " '", entry, "' is frozen, and has no ", what);
    }
  };
  check_groups("optimizer: lr_of", config.optimizer.lr_of, "rate");
  check_groups("optimizer: decay", config.optimizer.decay, "decay");
}

}  // namespace

void check_batches(const Config& config, Module& model, const Loader& loader) {
  if (loader.least_batch() > 1) return;
  for (size_t i = 0; i < config.stages.size(); ++i) {
    const StageConfig& stage = config.stages[i];
    const bool all = loader.batch() == 1 && (stage.train || reestimated(stage).batches > 0);
    if (!all && !uses_last_batch(stage, loader.batches())) continue;
    const auto norm = norm_of_one_value(model, config.model.input,
                                        stage.train ? stage.train->freeze : std::vector<std::string>{});
    if (!norm) continue;
    fail_usage(place_of(config, i), *norm,
               " (batch_norm) has one value a channel of an image, and so no variance in a batch of one, as ",
               all ? "all are" : "an epoch's last is", ": set another data.batch",
               all ? "" : ", or data.drop_last to true");
  }
}

void check_stages(const Config& config, Module& model, std::optional<int64_t> batches, bool original,
                  Mistakes& mistakes, size_t first) {
  for (size_t i = 0; i < config.stages.size(); ++i) {
    const StageConfig& stage = config.stages[i];
    const std::string pointer = stage_pointer(config, i);
    const PruneConfig* prune = stage.pruning();
    const bool changes_shapes = prune && cuts_channels(*prune);
    if (mistakes.spare(pointer)) {
      // An Error is none of usage: the config says what it means, and the network has no such thing.
      const auto check = [&](const auto& act) { mistakes.attempt(pointer, act, place_of(config, i)); };
      if (prune) check([&] { check_pruning(config, *prune, model, original); });
      if (stage.train) check([&] { check_learning(*stage.train, model); });
      if (i >= first && stage.train && stage.train->distill)
        check([&] { check_teacher(config, *stage.train->distill, model); });
      if (const Reestimated asked = reestimated(stage); asked.batches > 0)
        check([&] {
          const Frozen frozen(model,
                              stage.train ? frozen_layers(*stage.train, model) : std::vector<Module*>{});
          const auto norms = batch_norms(model);
          if (std::ranges::all_of(norms, [](auto* norm) { return norm->frozen(); }))
            fail_usage(asked.field, ": found ", asked.batches, ", but the model has no batch norm",
                       norms.empty() ? "" : " that is not frozen");
        });
      if (stage.prune && stage.prune->reinitialize && !model.history.empty() && config.model.type != "graph")
        check([&] {
          fail_usage(
              "prune.reinitialize makes weights of the shapes that model.type has, and channels of the "
              "file that the model is of were cut: expected model.type graph, with that file");
        });
      if (stage.train && stage.train->regularize)
        check([&] { make_penalty(model, config.model.input, *stage.train->regularize); });
      if (stage.train && prune && batches)
        check([&] { prune_schedule(*stage.train, stage_length(*stage.train, *batches)); });
      if (stage.train && stage.train->regrow && batches)
        check([&] { regrow_schedule(*stage.train->regrow, stage_length(*stage.train, *batches)); });
      if (stage.train && stage.train->regrow && original && !stages_bring_masks(config, i))
        check([&] {
          const auto masked = [](const Parameter* weight) { return weight->mask.defined(); };
          if (std::ranges::none_of(learning_weights(model), masked))
            fail_usage("train.regrow: ", no_masks_to_move);
        });
    }
    original = original && !changes_shapes;
  }
}

void check_early_stop(const Config& config, const DataSplits& data, Mistakes& mistakes) {
  if (data.validation.size() > 0) return;
  for (size_t i = 0; i < config.stages.size(); ++i) {
    const auto& train = config.stages[i].train;
    const std::string pointer = stage_pointer(config, i) + "/train/early_stop";
    if (train && train->early_stop && mistakes.spare(pointer))
      mistakes.attempt(pointer, [&] {
        fail_usage(place_of(config), schema::shown(pointer, config.set),
                   ": needs images to judge by: a folder val/ beside test/, or ",
                   schema::shown("/data/validation", config.set), " above 0");
      });
  }
}

std::vector<std::string> notes_on_layers(const Config& config, Module& model) {
  std::vector<std::string> layers, notes;
  for (const Parameter* weight : prunable_weights(model)) layers.emplace_back(layer_name(weight->name));
  for (size_t i = 0; i < config.stages.size(); ++i) {
    const StageConfig& stage = config.stages[i];
    const auto add = [&](const std::string& list, const std::vector<std::string>& entries) {
      for (const std::string& note : notes_on_beginnings(list, entries, layers))
        notes.push_back(place_of(config, i) + note);
    };
    if (const PruneConfig* prune = stage.pruning()) {
      add("prune: include", prune->include);
      add("prune: exclude", prune->exclude);
      for (const LimitsConfig& one : prune->overrides) add("prune: layers", one.layers);
    }
    if (stage.train && stage.train->regularize) {
      add("regularize: include", stage.train->regularize->include);
      add("regularize: exclude", stage.train->regularize->exclude);
    }
  }
  return notes;
}

}  // namespace espalier
