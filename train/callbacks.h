// The callbacks that shape a training stage: penalties, clipping, averages and pruning while training,
// evaluation with the best epoch and early stopping, checkpoints and interrupts.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "espalier/prune/pruner.h"
#include "espalier/prune/regularize.h"
#include "espalier/train/callback.h"
#include "espalier/train/console.h"

namespace espalier {

/// Prunes after each step on which the schedule acts.
class PruneCallback : public Callback {
 public:
  PruneCallback(GradualPruner pruner, Console& console) : pruner_(std::move(pruner)), console_(console) {}
  void after_step(TrainState& state) override;

 private:
  GradualPruner pruner_;
  Console& console_;
};

/// Adds a penalty's gradient to each step's.
class RegularizeCallback : public Callback {
 public:
  explicit RegularizeCallback(Regularizer regularizer) : regularizer_(std::move(regularizer)) {}
  void after_backward(TrainState& state) override;

 private:
  Regularizer regularizer_;
};

/// Clips each step's gradients to a norm (optim/clip.h): all that the callbacks before it have made of them.
class ClipCallback : public Callback {
 public:
  explicit ClipCallback(double norm) : norm_(norm) {}
  void after_backward(TrainState& state) override;

 private:
  double norm_;
};

/// Keeps a moving average of the weights (optim/ema.h), which takes their place when the stage ends.
class AverageCallback : public Callback {
 public:
  explicit AverageCallback(double decay) : decay_(decay) {}
  void on_stage_begin(TrainState& state) override;
  void after_update(TrainState& state) override;
  void on_stage_end(TrainState& state) override;
  void add_state(const std::vector<Parameter*>& parameters) const override;

 private:
  double decay_;
};

/// What a config's steps consist of besides passes and the optimizer's update: clipping and the average. What
/// adds to gradients comes before them.
std::vector<std::unique_ptr<Callback>> step_callbacks(const TrainConfig& config);

/// Every eval_every epochs and in the last: accuracy on the test set and, where a share is held out, on that;
/// there it keeps the best epoch (`save_best` is called) and, with early_stop, ends the stage after
/// `patience` evaluations that were not better by more than min_delta than the last that was. A moving
/// average of weights is evaluated in their place.
class EvaluateCallback : public Callback {
 public:
  EvaluateCallback(Loader& test, Loader* validation, std::function<void()> save_best)
      : test_(test), validation_(validation), save_best_(std::move(save_best)) {}
  void on_epoch_end(TrainState& state) override;

 private:
  void judge(TrainState& state);

  Loader& test_;
  Loader* validation_;
  std::function<void()> save_best_;
};

/// Calls `save` at each epoch's last step, every checkpoint_every seconds if that is set, and when a signal
/// has come; then it throws Interrupted.
class SaveCallback : public Callback {
 public:
  SaveCallback(std::function<void()> save, std::string place)
      : save_(std::move(save)), place_(std::move(place)) {}
  void on_stage_begin(TrainState& state) override;
  void after_step(TrainState& state) override;

 private:
  std::function<void()> save_;
  std::string place_;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace espalier
