#include "espalier/run/resume.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "espalier/config/json.h"
#include "espalier/config/overrides.h"
#include "espalier/core/compute_device.h"
#include "espalier/core/kernel_choice.h"
#include "espalier/run/build.h"
#include "espalier/run/lengths.h"
#include "espalier/train/callbacks.h"
#include "espalier/util/input_file.h"
#include "espalier/util/shell_word.h"
#include "espalier/util/table.h"
#include "espalier/util/utf8.h"

namespace espalier {

namespace fs = std::filesystem;

namespace {

using schema::Json;
using schema::Place;

/// A config without what decides nothing that a run has done: whether it ends in an error instead, and what
/// is its remedy, allow_empty; where its data lie and whether they are kept decoded; how often it writes down
/// where it is. With `any_length` also without how long stages train.
Json comparable(Config config, bool any_length) {
  config.precision.reset();  // the checkpoint says in which it was computed: check_device
  config.data.root.reset();
  config.data.cache = DataConfig{}.cache;
  // Of old image folders 0 was written where nothing was said; which it is shows in the number of images.
  config.data.validation = config.data.validation.value_or(0);
  for (StageConfig& stage : config.stages) {
    for (auto* prune : {&stage.prune, stage.train ? &stage.train->prune : nullptr})
      if (prune && *prune) (*prune)->allow_empty = false;
    if (!stage.train) continue;
    stage.train->log_every = TrainConfig{}.log_every;
    stage.train->checkpoint_every = TrainConfig{}.checkpoint_every;
    if (any_length) stage.train->epochs = stage.train->steps = std::nullopt;
  }
  return config_json(config);
}

/// A pointer to where the two differ first, or nothing: the names of an object are in order, for of layers'
/// rates the last counts.
std::optional<std::string> differs_at(const Json& theirs, const Json& ours, const Place& at) {
  if (theirs == ours) return std::nullopt;
  if (theirs.is_object() && ours.is_object()) {
    for (const auto& [name, value] : ours.items()) {
      if (!theirs.contains(name)) return (at / name).pointer();
      if (auto inside = differs_at(theirs[name], value, at / name)) return inside;
    }
    for (const auto& [name, value] : theirs.items())
      if (!ours.contains(name)) return (at / name).pointer();
  } else if (theirs.is_array() && ours.is_array()) {
    const size_t both = std::min(theirs.size(), ours.size());
    for (size_t i = 0; i < both; ++i)
      if (auto inside = differs_at(theirs[i], ours[i], at / i)) return inside;
    if (theirs.size() != ours.size()) return (at / both).pointer();
  }
  return at.pointer();
}

/// A folder without a checkpoint is written over, so its files must be what this run left before its first.
void check_own(const RunFolder& folder, const Config& config) {
  const std::string place = folder.path().string();
  const std::vector<fs::path> files = folder.files();
  if (files.empty()) return;
  std::optional<Config> theirs;
  try {
    theirs = load_run_config(folder.config().string());
  } catch (const Error&) {
    fail_usage(place, ": holds ", files.front().filename().string(),
               ", which no run of Espalier's has left; --output DIR writes elsewhere");
  }
  check_same(folder, *theirs, config);
  // The model of a first stage that does not train comes before the first checkpoint; the same comes again.
  const StageConfig& first = config.stages.front();
  const fs::path early = first.train ? fs::path() : folder.model(first.name);
  for (const fs::path& file : files)
    if (file == folder.result() || (file.extension() == ".safetensors" && file != early))
      fail_usage(place, ": holds ", file.lexically_relative(folder.path()).string(),
                 " of a run, but no checkpoint to go on from; --output DIR writes elsewhere");
}

}  // namespace

std::string first_difference(const Config& theirs, const Config& ours, bool any_length) {
  const Json ours_json = comparable(ours, any_length);
  const auto pointer = differs_at(comparable(theirs, any_length), ours_json, Place(""));
  return pointer ? path_of(*pointer, ours_json) : "";
}

void check_free(const RunFolder& folder, const Config& config, bool resume) {
  if (!folder.holds_run()) {
    if (const auto other = folder.foreign())
      fail_usage(folder.path().string(), ": is no run's folder, and holds ", other->filename().string(),
                 "; --output DIR writes elsewhere");
    return;
  }
  if (!resume)
    fail_usage(folder.path().string(),
               ": holds a run already; --resume goes on with it, --output DIR writes elsewhere");
  if (!folder.has_checkpoint()) check_own(folder, config);
}

void check_same(const RunFolder& folder, const Config& theirs, const Config& ours) {
  const std::string at = first_difference(theirs, ours, true);
  if (!at.empty())
    fail_usage(folder.path().string(), ": holds a run of another config, which differs at ", at,
               "; --output DIR writes elsewhere");
}

SavedRun saved_run(const RunFolder& folder, const Config& config) {
  const auto read = [&](const fs::path& file) {
    SavedRun saved{file, read_checkpoint_info(file)};
    ESP_CHECK(saved.info.position, file.string(), ": has no position to go on from: it holds only weights");
    check_same(folder, saved.info.config, config);
    return saved;
  };
  SavedRun saved = read(folder.checkpoint());
  const auto last = last_training(config);
  if (!last || saved.info.position->stage <= *last) return saved;
  const StageConfig& stage = config.stages[static_cast<size_t>(*last)];
  if (same_length(*saved.info.config.stages[static_cast<size_t>(*last)].train, *stage.train)) return saved;

  if (!fs::exists(folder.last_step()))
    fail_usage(folder.path().string(), ": stage '", stage.name,
               "' is done, and left no last_step.safetensors ", "to go on from to ", length_of(stage),
               stage.train->early_stop
                   ? ": where early_stop ends a stage, it would have ended a longer one, too"
                   : ", as earlier versions did not",
               "; without --resume, --set model.weights=", shell_word(folder.model(stage.name).string()),
               " begins another run with its weights");
  SavedRun before = read(folder.last_step());
  ESP_CHECK(before.info.position->stage == *last, before.file.string(), ": is of another stage than '",
            stage.name, "'");
  ESP_CHECK(Judgement::in(*before.info.position).best_epoch == 0 || fs::exists(folder.last_step_best()),
            folder.last_step_best().string(), ": is missing, without which stage '", stage.name,
            "' does not know its best model");
  return before;
}

void check_position(const RunPosition& at, const Config& config, int64_t batches, const std::string& file) {
  const auto stages = static_cast<int64_t>(config.stages.size());
  bool fits = at.stage <= stages && static_cast<int64_t>(at.results.size()) == at.stage;
  if (fits && at.stage < stages) {
    const auto& train = config.stages[static_cast<size_t>(at.stage)].train;
    const StageLength length = train ? stage_length(*train, batches) : StageLength{};
    fits = at.batch <= length.epoch_steps && at.step <= length.steps;
  }
  ESP_CHECK(fits, file, ": its position does not fit its config, of which an epoch has ", batches,
            batches == 1 ? " batch" : " batches", " with the data that are there now");
}

void check_data(const RunPosition& at, const Config& config, const ImageCounts& found,
                const std::string& place, const std::string& file) {
  if (!at.data || at.stage == static_cast<int64_t>(config.stages.size())) return;
  struct Split {
    const char* use;
    int64_t ImageCounts::*count;
  };
  for (const auto& [use, count] :
       {Split{"train on", &ImageCounts::train}, Split{"validate by", &ImageCounts::validation},
        Split{"test", &ImageCounts::test}}) {
    const int64_t now = found.*count, then = (*at.data).*count;
    ESP_CHECK(now == then, place, ": found ", grouped(now), " ", plural(now, "image"), " to ", use,
              ", expected ", grouped(then), ", as when ", file,
              " was written: with the data of then the run goes on, and without --resume another begins");
  }
}

std::string check_device(const RunPosition& at, const std::string& file) {
  if (at.precision.empty()) return "";
  const std::string device = device_name(compute_device()), precision = precision_name();
  if (device != at.device)
    return join(file, ": was written on ", at.device, " in ", at.precision, ", goes on on ", device, " in ",
                precision, ": results differ from those of one device");
  if (precision != at.precision)
    fail_usage(file, ": was computed in ", at.precision, ", found ", precision, " to go on in; --precision ",
               at.precision, " goes on as it began, --output DIR begins elsewhere");
  return "";
}

void restore_kernels(const RunFolder& folder, Console& console) {
  if (!fs::exists(folder.kernels())) return;
  const std::string file = folder.kernels().string();
  const auto json = parse_json(read_file(folder.kernels()), file);
  std::map<std::string, std::string> choices;
  ESP_CHECK(json.is_object(), file, ": not the kernels that --autotune chose, which are an object");
  for (const auto& [shape, kernel] : json.items()) {
    ESP_CHECK(kernel.is_string(), file, ": not the kernels that --autotune chose: '", printable(shape),
              "' is no text");
    const std::string name = kernel.get<std::string>();
    if (kernel_choice::is_known(name))
      choices[shape] = name;
    else
      console.warn(
          join(file, ": '", printable(name), "' for '", printable(shape),
               "' is no kernel of this version; the shape is served as without --autotune, and results may "
               "differ in their last bits"));
  }
  kernel_choice::set_all(std::move(choices));
}

void restore_models(const RunFolder& folder, const Config& config, RunPosition& at,
                    const std::vector<std::string>& classes, Module& model, Console& console) {
  for (int64_t stage = 0; stage < at.stage; ++stage) {
    const StageResult& result = at.results[static_cast<size_t>(stage)];
    const std::string& name = config.stages[static_cast<size_t>(stage)].name;
    std::vector<fs::path> files{folder.model(name)};
    if (result.best) files.push_back(folder.best_model(name));
    for (const fs::path& file : files) {
      if (fs::exists(file)) continue;
      if (stage + 1 == at.stage && at.step == 0 && file == files.front()) {
        save_weights(folder.for_writing(file), model, config, classes);
        console.line(file.string() + ": was missing, and is written again from the checkpoint");
      } else {
        console.warn(file.string() +
                     ": is missing, and the checkpoint does not hold it; another run makes it "
                     "again (--output DIR writes elsewhere)");
      }
    }
  }
  Judgement judgement = Judgement::in(at);
  if (judgement.best_epoch == 0 || at.stage == static_cast<int64_t>(config.stages.size())) return;
  const fs::path best = folder.best_model(config.stages[static_cast<size_t>(at.stage)].name);
  if (fs::exists(best)) return;
  console.warn(best.string() + ": is missing; the best of the epochs that follow takes its place");
  judgement.best_epoch = 0;
  judgement.best_accuracy = -1;
  judgement.put_into(at);
}

void check_rewinds(const RunFolder& folder, const Config& config, const RunPosition& at) {
  const auto begin = config.stages.begin();
  for (auto stage = begin + at.stage; stage != config.stages.end(); ++stage) {
    if (!stage->prune || !stage->prune->rewind) continue;
    const std::string& wanted = *stage->prune->rewind;
    const auto earlier = std::ranges::find(config.stages, wanted, &StageConfig::name);
    if (earlier - begin >= at.stage) continue;  // it is still to come, too
    ESP_CHECK(fs::exists(folder.model(wanted)), folder.model(wanted).string(), ": is missing, and stage '",
              stage->name, "' goes back to its weights");
  }
}

}  // namespace espalier
