#include "espalier/train/run_folder.h"

#include <unistd.h>

#include "espalier/core/error.h"

namespace espalier {

namespace fs = std::filesystem;

bool RunFolder::holds_run() const {
  std::error_code none;
  return fs::exists(config(), none) || fs::exists(checkpoint(), none) || fs::exists(result(), none);
}

bool RunFolder::has_checkpoint() const {
  std::error_code none;
  return fs::exists(checkpoint(), none);
}

void RunFolder::create() const {
  std::error_code error;
  fs::create_directories(path_ / "models", error);
  if (error) fail_usage(path_.string(), ": this output folder cannot be made: ", error.message());
  if (access(path_.c_str(), W_OK) != 0) fail_usage(path_.string(), ": this output folder cannot be written");
  for (const fs::path& folder : {path_, path_ / "models"})
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().filename().string().find(".safetensors.tmp-") != std::string::npos)
        fs::remove(entry.path());
}

void RunFolder::clear() const {
  for (const fs::path& file : {config(), log(), metrics(), checkpoint(), kernels(), result()})
    fs::remove(file);
  if (fs::exists(path_ / "models"))
    for (const auto& entry : fs::directory_iterator(path_ / "models"))
      if (entry.path().extension() == ".safetensors") fs::remove(entry.path());
}

}  // namespace espalier
