// metrics.jsonl: a row of JSON every so many steps, and one an epoch.
#pragma once

#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "espalier/train/callback.h"

namespace espalier {

/// How much of the first `bytes` bytes of the file of metrics is there, in complete rows: all of them unless
/// it was lost (0) or cut short.
int64_t rows_left(const std::filesystem::path& file, int64_t bytes);

/// A file that grows by rows and is flushed after each.
class MetricsFile {
 public:
  /// Opens or makes `file` and cuts it to its first `keep` bytes: rows after the checkpoint that a run goes
  /// on from. An Error if it is shorter. `seconds` says how long the run has run, over all its processes.
  MetricsFile(std::filesystem::path file, int64_t keep, std::function<double()> seconds);
  /// Adds `seconds` to the row, in thousandths.
  void write(nlohmann::ordered_json row);
  /// Bytes so far, all of them on disk.
  int64_t sync();

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::filesystem::path path_;
  std::unique_ptr<std::FILE, Close> file_;
  int64_t bytes_;
  std::function<double()> seconds_;
};

/// When a row's event happened: all rows begin with this.
struct RowTime {
  std::string stage;
  int64_t epoch = 0, step = 0;  ///< of the stage, from 1; 0 in one that does not train
  int64_t total_step = 0;       ///< training steps of the run so far
};

/// The row of what a pruner did: its time, prune, which no other row has (to_json in prune_event.h), and
/// sparsity and macs as it left them.
nlohmann::ordered_json prune_row(const RowTime& time, const PruneEvent& event);

/// The row of how masks moved: its time, regrow, which no other row has (to_json in regrow_event.h), and
/// sparsity and macs, which that leaves as they were.
nlohmann::ordered_json regrow_row(const RowTime& time, const RegrowEvent& event, double sparsity,
                                  int64_t macs);

/// The row of a network's test after a stage that does not train: its time, accuracy and top5 (per cent),
/// test_loss, sparsity and macs.
nlohmann::ordered_json evaluation_row(const RowTime& time, const Evaluation& test, double sparsity,
                                      int64_t macs);

/// Rows of a train stage. All have their time, sparsity, macs. Step rows: loss (of the batch, without
/// penalties), lr. Epoch rows: accuracy, top5 and test_loss as evaluation_row's, train_loss, train_accuracy,
/// data_seconds (what this process waited for data in this epoch), and with a held-out share
/// validation_accuracy and validation_loss. And a prune_row after each step on which the pruner acted, and a
/// regrow_row after each in which masks moved, before that step's own; where they move more often than every
/// log_every steps, only with that.
class MetricsCallback : public Callback {
 public:
  explicit MetricsCallback(MetricsFile& file) : file_(file) {}
  std::string name() const override { return "metrics"; }
  /// {"sparsity": as last counted}, which the rows up to the next count have; null before the first.
  nlohmann::ordered_json state(const TrainState& state) override;
  void restore(const nlohmann::ordered_json& state, const std::string& place) override;
  void on_stage_begin(TrainState& state) override;
  void after_step(TrainState& state) override;
  void on_epoch_end(TrainState& state) override;

 private:
  /// A pass over the weights: where zeros that no mask holds may have moved, and not for each step.
  void count(TrainState& state);

  MetricsFile& file_;
  bool counted_ = false;
  std::optional<double> restored_;  ///< the sparsity of the rows before, where the stage goes on
};

}  // namespace espalier
