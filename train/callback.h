// Callback: whatever happens around the training loop. Pruners, metrics, progress and checkpoints are
// callbacks; they are called in the order they were given.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "espalier/optim/optimizer.h"
#include "espalier/prune/schedule.h"
#include "espalier/train/evaluate.h"
#include "espalier/train/loss.h"
#include "espalier/train/position.h"
#include "espalier/train/prune_event.h"
#include "espalier/train/regrow_event.h"
#include "espalier/train/train_config.h"

namespace espalier {

/// What callbacks see and may change.
struct TrainState {
  const std::string& stage;  ///< its name
  const TrainConfig& config;
  Module& model;
  Optimizer& optimizer;
  Position& position;
  int64_t epoch_steps;                         ///< steps of a full epoch, of config.accumulate batches each
  int64_t total_steps;                         ///< of the stage
  const Loss& loss_function = default_loss();  ///< what is made small
  double lr = 0;                               ///< of this step
  double loss = 0;  ///< of this step's images; as position's loss_sum and correct good after settle()
  double epoch_seconds = 0;  ///< of this epoch, spent on steps and on waiting for data; not on callbacks
  double wait_seconds = 0;   ///< of those, on waiting for data
  int64_t macs = 0;          ///< of one image
  double sparsity = 0;  ///< as last counted (MetricsCallback): as the stage begins, where masks change, and at
                        ///< an epoch's end
  std::optional<Schedule> pruning = {};                  ///< when its pruner acts, if it has one
  std::optional<PruneEvent> pruned = {};                 ///< what that did after this step
  std::optional<RegrowEvent> regrown = {};               ///< how masks moved after this step
  std::optional<Evaluation> test = {}, validation = {};  ///< of the epoch that ends
  /// Set by a callback in after_backward: the weights do not move in this step.
  bool leaves_out_update = false;
  /// What this step multiplies gradients by (Optimizer::step): a callback's, once they are there;
  /// undefined: 1.
  Tensor gradient_scale = {};
  uint64_t random = 0;     ///< key of the random numbers that passes draw: dropout's
  std::string stop = {};   ///< set by a callback: why the stage ends with this epoch
  std::string saved = {};  ///< where the last good checkpoint is, in words
  /// Brings loss, position.loss_sum and position.correct up to this step: on a card they are added up there,
  /// and reading them waits for it. The Trainer's, which on the CPU has done so after each step.
  std::function<void()> settle = [] {};
  /// Puts what the callbacks have to remember into position: before it is saved. The Trainer's.
  std::function<void()> remember = [] {};

  /// The end of a message about a stage that failed: where to go on from.
  std::string last_checkpoint() const {
    return saved.empty() ? "no checkpoint has been written yet" : "the last good checkpoint is " + saved;
  }
  /// The same where numbers are no longer finite, and what may help.
  std::string remedy() const {
    return last_checkpoint() + "; a lower learning rate or optimizer.clip_norm may help";
  }
  int64_t epochs() const { return (total_steps + epoch_steps - 1) / epoch_steps; }
};

class Callback {
 public:
  virtual ~Callback() = default;
  /// Also when a stage goes on after --resume.
  virtual void on_stage_begin(TrainState&) {}
  /// Gradients are there, the weights have not moved.
  virtual void after_backward(TrainState&) {}
  /// The weights have moved; in the step's time, before position counts it. Not where the update is left out.
  virtual void after_update(TrainState&) {}
  /// The step is done; position counts it.
  virtual void after_step(TrainState&) {}
  /// The epoch's last step is done.
  virtual void on_epoch_end(TrainState&) {}
  /// The last epoch is done.
  virtual void on_stage_end(TrainState&) {}
  /// Gives parameters what it keeps in their state while it is at work, as a stage begins; estimates of
  /// memory ask for it, too.
  virtual void add_state(const std::vector<Parameter*>&) const {}

  /// What it has to remember when the stage goes on from a checkpoint, which keeps it under this name; an
  /// empty one, or a state that is null: nothing. No two of a stage have the same.
  virtual std::string name() const { return ""; }
  virtual nlohmann::ordered_json state(const TrainState&) { return nullptr; }
  /// Takes what state() gave, before on_stage_begin. Error with `place` for what it could not have given.
  virtual void restore(const nlohmann::ordered_json& /*state*/, const std::string& /*place*/) {}
};

}  // namespace espalier
