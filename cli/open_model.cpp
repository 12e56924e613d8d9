#include "espalier/cli/open_model.h"

#include <filesystem>

#include "espalier/train/build.h"
#include "espalier/train/checkpoint.h"

namespace espalier::cli {

std::unique_ptr<Module> open_model(const std::string& file, Config& config) {
  if (std::filesystem::path(file).extension() != ".json") {
    OpenedCheckpoint opened = open_checkpoint(file);
    config = std::move(opened.info.config);
    return std::move(opened.model);
  }
  config = load_config(file);
  return build_model(config);
}

}  // namespace espalier::cli
