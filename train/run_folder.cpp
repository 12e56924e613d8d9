#include "espalier/train/run_folder.h"

#include <unistd.h>

#include "espalier/core/error.h"
#include "espalier/formats/atomic_file.h"

namespace espalier {

namespace fs = std::filesystem;

std::vector<fs::path> RunFolder::files() const {
  std::vector<fs::path> found;
  std::error_code none;
  for (const fs::path& file : {config(), log(), metrics(), checkpoint(), kernels(), result()})
    if (fs::exists(file, none)) found.push_back(file);
  if (fs::exists(path_ / "models", none))
    for (const auto& entry : fs::directory_iterator(path_ / "models"))
      if (entry.path().extension() == ".safetensors") found.push_back(entry.path());
  return found;
}

bool RunFolder::holds_run() const { return !files().empty(); }

bool RunFolder::has_checkpoint() const {
  std::error_code none;
  return fs::exists(checkpoint(), none);
}

void RunFolder::create() const {
  std::error_code error;
  fs::create_directories(path_ / "models", error);
  if (error) fail_usage(path_.string(), ": this output folder cannot be made: ", error.message());
  if (access(path_.c_str(), W_OK) != 0) fail_usage(path_.string(), ": this output folder cannot be written");
}

void RunFolder::remove_halves() const {
  for (const fs::path& folder : {path_, path_ / "models"})
    for (const auto& entry : fs::directory_iterator(folder)) {
      const auto temporary = temporary_name(entry.path().filename().string());
      if (!temporary) continue;
      const fs::path whole = folder / temporary->file;
      if (whole == config() || whole == kernels() || whole == result() || whole.extension() == ".safetensors")
        fs::remove(entry.path());
    }
}

void RunFolder::clear() const {
  for (const fs::path& file : files()) fs::remove(file);
}

}  // namespace espalier
