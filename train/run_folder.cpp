#include "espalier/train/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

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
  for (const fs::path& folder : {path_, path_ / "models"})
    if (::access(folder.c_str(), W_OK | X_OK) != 0)
      fail_usage(folder.string(), ": this output folder cannot be written");
}

void RunFolder::lock() {
  const std::string place = path_.string();
  lock_.emplace(::open(place.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (lock_->get() < 0) fail_errno(path_, "cannot be opened");
  if (::flock(lock_->get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    fail_usage(place, ": another process is running in this folder");
  if (!is_in_place())
    fail_usage(place, ": was removed or replaced as this run began; the same command again");
}

bool RunFolder::is_in_place() const {
  struct stat locked, now;
  if (::fstat(lock_->get(), &locked) != 0) fail_errno(path_, "cannot be examined");
  return ::stat(path_.c_str(), &now) == 0 && locked.st_dev == now.st_dev && locked.st_ino == now.st_ino;
}

const fs::path& RunFolder::for_writing(const fs::path& file) const {
  if (!is_in_place())
    fail(path_.string(),
         ": was removed, renamed or replaced by another folder while this run wrote into it; ",
         file.lexically_relative(path_).string(), " and what would follow are not written");
  return file;
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
  for (const fs::path& file : files())
    if (file != config()) fs::remove(file);
}

}  // namespace espalier
