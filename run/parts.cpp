#include "espalier/run/parts.h"

#include "espalier/run/build.h"
#include "espalier/run/distill.h"
#include "espalier/run/memory.h"
#include "espalier/run/weights_origin.h"

namespace espalier {
namespace {

/// The config without the stages in which there is a mistake. The others have other numbers then.
Config sound_part(const Config& config, const Mistakes& mistakes) {
  Config sound = config;
  sound.stages.clear();
  for (size_t i = 0; i < config.stages.size(); ++i)
    if (mistakes.spare(stage_pointer(config, i))) sound.stages.push_back(config.stages[i]);
  return sound;
}

bool fits_machine(const Config& config) {
  try {
    check_memory(config);
    return true;
  } catch (const Error&) {  // of the weights there is a mistake already
    return false;
  }
}

/// The config with a model of the same layers for which no file is read, neither weights nor, for its
/// classes, the data.
Config without_files(Config config) {
  config.model.weights.reset();
  if (config.model.classes == 0) config.model.classes = models().find(config.model.type)->classes;
  return config;
}

}  // namespace

const DataSplits& DataMemo::of(const Config& config, const std::optional<std::string>& root, const Say& say) {
  Config stageless = config;
  stageless.stages.clear();
  const nlohmann::ordered_json whole = config_json(stageless);
  // What build_data looks at: the images that the network takes, and the seed that some are held out by.
  nlohmann::ordered_json key = {whole["data"], whole["model"].value("input", nlohmann::ordered_json()),
                                config.model.classes, config.seed};
  if (key != key_) {
    key_.clear();
    data_ = build_data(config, root, say);
    key_ = std::move(key);
  }
  return data_;
}

Parts check_parts(Config& config, const std::optional<std::string>& root, Mistakes& mistakes, const Say& say,
                  DataMemo* memo) {
  Parts parts;
  if (mistakes.spare("/model") && mistakes.spare("/data"))
    mistakes.attempt("/data", [&] { take_classes(config, root); });
  const bool reads_model = mistakes.spare("/model"), knows_classes = config.model.classes > 0,
             reads_data = reads_model && mistakes.spare("/data");
  const Config sound = sound_part(config, mistakes);
  // What does not fit this machine is not tried: neither the model nor data that are drawn.
  const bool fits =
      reads_model && (!knows_classes || mistakes.attempt("/model", [&] { check_memory(sound); }));
  if (fits && knows_classes)
    mistakes.attempt("/model", [&] { parts.model = build_model(config, true, &parts.notes); });
  if (reads_data && (fits || !datasets().named(config.data.type).is_drawn))
    mistakes.attempt("/data", [&] {
      parts.data = memo ? memo->of(config, root, say) : build_data(config, root, say);
      if (fits) check_memory(sound, &*parts.data);
      parts.batches = training_loader(config, parts.data->train).batches();
    });
  if (parts.data) check_early_stop(config, *parts.data, mistakes);
  if (parts.data && parts.model)
    mistakes.attempt("/data",
                     [&] { check_classes_of_weights(config, parts.data->train, data_place(config, root)); });
  if (parts.model) {
    check_stages(config, *parts.model, parts.batches, true, mistakes);
  } else if (reads_model && (config.model.weights || !knows_classes)) {  // its layers have names all the same
    const Config fresh = without_files(sound);
    std::unique_ptr<Module> model;
    if (fits_machine(fresh) && mistakes.attempt("/model", [&] { model = build_model(fresh); }))
      check_stages(config, *model, parts.batches, false, mistakes);
  }
  if (parts.data && parts.model)
    check_classes_of_teachers(config, 0, parts.data->train, data_place(config, root), mistakes);
  if (mistakes.spare(""))
    mistakes.attempt(
        "", [&] { check_batches(config, *parts.model, training_loader(config, parts.data->train)); });
  return parts;
}

}  // namespace espalier
