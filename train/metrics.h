// metrics.jsonl: a row of JSON every so many steps, and one an epoch.
#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "espalier/train/callback.h"

namespace espalier {

/// How much of the first `bytes` bytes of the file of metrics is there, in whole rows: all of them unless it
/// was lost (0) or cut short.
int64_t rows_left(const std::filesystem::path& file, int64_t bytes);

/// A file that grows by rows and is flushed after each.
class MetricsFile {
 public:
  /// Opens or makes `file` and cuts it to its first `keep` bytes: rows after the checkpoint that a run goes
  /// on from. An Error if it is shorter.
  MetricsFile(std::filesystem::path file, int64_t keep);
  void write(const nlohmann::ordered_json& row);
  /// Bytes so far, all of them on disk.
  int64_t sync();

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::filesystem::path path_;
  std::unique_ptr<std::FILE, Close> file_;
  int64_t bytes_;
};

/// Step rows: stage, epoch, step (both from 1), loss (of the batch, without penalties), lr. Epoch rows:
/// stage, epoch, step, accuracy and top5 (test, per cent), test_loss, train_loss, train_accuracy,
/// data_seconds (what this process waited for data in this epoch), and with a held-out share
/// validation_accuracy and validation_loss.
class MetricsCallback : public Callback {
 public:
  explicit MetricsCallback(MetricsFile& file) : file_(file) {}
  void after_step(TrainState& state) override;
  void on_epoch_end(TrainState& state) override;

 private:
  MetricsFile& file_;
};

}  // namespace espalier
