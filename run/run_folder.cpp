#include "espalier/run/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "espalier/util/atomic_file.h"

namespace espalier {

namespace fs = std::filesystem;

std::vector<fs::path> RunFolder::files() const {
  std::vector<fs::path> found;
  std::error_code none;
  for (const fs::path& file :
       {config(), log(), metrics(), checkpoint(), kernels(), result(), last_step(), last_step_best()})
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

std::optional<fs::path> RunFolder::foreign() const {
  const std::vector<fs::path> own = files();
  std::optional<fs::path> first;
  std::error_code none;
  if (!fs::is_directory(path_, none)) return first;
  for (const auto& entry : fs::directory_iterator(path_)) {
    const fs::path& found = entry.path();
    const bool is_models = found.filename() == "models" && entry.is_directory(none);
    if (is_models || temporary_name(found.filename().string()) || std::ranges::find(own, found) != own.end())
      continue;
    if (!first || found < *first) first = found;
  }
  return first;
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
  if (!try_lock()) fail_usage(path_.string(), ": another process is running in this folder");
}

bool RunFolder::try_lock() {
  lock_.emplace(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (lock_->get() < 0) fail_errno(path_, "cannot be opened");
  if (::flock(lock_->get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) return false;
  if (!is_in_place())
    fail_usage(path_.string(), ": was removed or replaced as this run began; the same command again");
  return true;
}

bool RunFolder::is_in_use() const {
  const FileDescriptor folder(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return folder.get() >= 0 && ::flock(folder.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

bool RunFolder::is_in_place() const {
  struct stat locked, now;
  if (::fstat(lock_->get(), &locked) != 0) fail_errno(path_, "cannot be examined");
  return ::stat(path_.c_str(), &now) == 0 && locked.st_dev == now.st_dev && locked.st_ino == now.st_ino;
}

OutputPath RunFolder::for_writing(const fs::path& file) const {
  const auto check = [this, file] {
    if (!is_in_place())
      fail(path_.string(),
           ": was removed, renamed or replaced by another folder while this run wrote into it; ",
           file.lexically_relative(path_).string(), " and what would follow are not written");
  };
  check();
  return {file, check};
}

void RunFolder::keep_last_step(const std::string& stage) const {
  keep_as(checkpoint(), for_writing(last_step()));
  if (fs::exists(best_model(stage))) keep_as(best_model(stage), for_writing(last_step_best()));
}

void RunFolder::remove_last_step() const {
  for (const fs::path& file : {last_step(), last_step_best()}) fs::remove(file);
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

fs::path run_path(const std::string& name, int64_t number) {
  return fs::path("runs") / (number == 1 ? name : join(name, "-", number));
}

std::vector<RunFolder> runs_called(const std::string& name) {
  std::vector<int64_t> numbers{1};
  std::error_code error;
  for (fs::directory_iterator at("runs", error), end; !error && at != end; at.increment(error)) {
    const std::string found = at->path().filename().string();
    if (!found.starts_with(name + "-")) continue;
    int64_t number = 0;
    std::from_chars(found.data() + name.size() + 1, found.data() + found.size(), number);
    if (number > 1 && run_path(name, number).filename() == found) numbers.push_back(number);
  }
  std::ranges::sort(numbers);
  std::vector<RunFolder> runs;
  for (const int64_t number : numbers)
    if (RunFolder run(run_path(name, number)); run.holds_run()) runs.push_back(std::move(run));
  return runs;
}

}  // namespace espalier
