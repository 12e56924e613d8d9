// The folder a run writes: config.json, log.txt, metrics.jsonl, checkpoint.safetensors,
// models/STAGE.safetensors and models/STAGE.best.safetensors, kernels.json (with --autotune), result.json;
// last_step.safetensors and last_step.best.safetensors, from which the last stage that trains can be made
// longer.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "espalier/util/atomic_file.h"
#include "espalier/util/file_descriptor.h"

namespace espalier {

class RunFolder {
 public:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config() const { return path_ / "config.json"; }
  std::filesystem::path log() const { return path_ / "log.txt"; }
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path checkpoint() const { return path_ / "checkpoint.safetensors"; }
  std::filesystem::path kernels() const { return path_ / "kernels.json"; }  ///< only with --autotune
  std::filesystem::path result() const { return path_ / "result.json"; }
  std::filesystem::path model(const std::string& stage) const {
    return path_ / "models" / (stage + ".safetensors");
  }
  /// The checkpoint as it was after the last step of the run's last training, and the best model until then.
  std::filesystem::path last_step() const { return path_ / "last_step.safetensors"; }
  std::filesystem::path last_step_best() const { return path_ / "last_step.best.safetensors"; }
  std::filesystem::path best_model(const std::string& stage) const { return model(stage + ".best"); }

  /// Whatever here has the name of a file that a run writes.
  std::vector<std::filesystem::path> files() const;
  /// True if there is any such file: a run's, or somebody else's that a run would overwrite.
  bool holds_run() const;
  bool has_checkpoint() const;
  /// The first, by name, of what is in the folder and is not a run's, nor the half of a file that a killed
  /// run left, nor models/ without a model.
  std::optional<std::filesystem::path> foreign() const;
  /// Makes the folder and models/ in it. UsageError if that cannot be done, something else has that name, or
  /// one of the two may not be written.
  void create() const;
  /// Keeps all other processes out, as long as this one lives. UsageError if one is in already, or has
  /// removed or replaced the folder since it was made.
  void lock();
  /// The same; false if another process is in already.
  bool try_lock();
  /// Whether another process is in now.
  bool is_in_use() const;
  /// `file`, one of this folder's, to be written now. Error if another folder, or none, has taken the place
  /// of the one that was locked: what is in it now is not this run's; also when that happens before it is
  /// written.
  OutputPath for_writing(const std::filesystem::path& file) const;
  /// Keeps the checkpoint, which holds the last step of `stage`, and the best model, if there is one.
  void keep_last_step(const std::string& stage) const;
  void remove_last_step() const;
  /// Removes the halves of files that a killed run left; a live one's are among them, so lock the folder
  /// first.
  void remove_halves() const;
  /// Removes what an earlier run left, but not the folder, nor config.json, which is replaced in one go (and
  /// may be what the run was begun with): a run starts afresh.
  void clear() const;

 private:
  bool is_in_place() const;

  std::filesystem::path path_;
  std::optional<FileDescriptor> lock_;
};

/// The folder of the run called `name`, or, with a `number` of 2 or more, of one that would have taken the
/// place of another: runs/NAME, runs/NAME-2, runs/NAME-3, ...
std::filesystem::path run_path(const std::string& name, int64_t number = 1);
/// Those of them that hold a run, in the order of their numbers.
std::vector<RunFolder> runs_called(const std::string& name);

}  // namespace espalier
