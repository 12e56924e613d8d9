#include "espalier/cli/open_model.h"

#include <filesystem>

#include "espalier/cli/command.h"
#include "espalier/core/compute_device.h"
#include "espalier/run/build.h"
#include "espalier/run/recipes.h"
#include "espalier/util/error.h"
#include "espalier/util/input_file.h"
#include "espalier/util/utf8.h"

namespace espalier::cli {

std::string config_named(const std::string& given, bool quiet) {
  const std::string file = find_config(given);
  if (file != given && !quiet) note(given + " is " + file);
  return file;
}

OpenedCheckpoint open_named_checkpoint(const std::string& given, const std::vector<std::string>& overrides) {
  require_present(given);
  return open_checkpoint(given, overrides);
}

void compute_as_trained(const Config& config) {
  if (compute_device() == Device::cuda) use_precision(config);
}

std::unique_ptr<Module> open_model(const std::string& given, Config& config,
                                   const std::optional<std::string>& root) {
  const std::filesystem::path path(given);
  const bool is_checkpoint = path.extension() != ".json" && (path.has_parent_path() || path.has_extension());
  const std::string file = is_checkpoint ? given : config_named(given);
  if (std::filesystem::path(file).extension() != ".json") {
    if (root)
      fail_usage(printable(file), ": is no config, and has its own classes: --data is for a config's");
    OpenedCheckpoint opened = open_named_checkpoint(file);
    config = std::move(opened.info.config);
    return std::move(opened.model);
  }
  config = load_config(file);
  try {
    take_classes(config, root);
  } catch (const Error& error) {
    fail(printable(file), ": model.classes is left to the data set, which cannot be read: ", error.what());
  }
  return build_model(config);
}

}  // namespace espalier::cli
