// The callbacks that shape a training stage: penalties, clipping, averages, evaluation with the best epoch
// and early stopping, checkpoints and interrupts. What moves masks is in regrow_callback.h, what prunes in
// run/pruning.h.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "espalier/penalty/penalty.h"
#include "espalier/train/callback.h"

namespace espalier {

/// Adds a penalty's gradient to each step's, or lets it move weights after it.
class RegularizeCallback : public Callback {
 public:
  explicit RegularizeCallback(std::unique_ptr<Penalty> penalty) : penalty_(std::move(penalty)) {}
  void after_backward(TrainState& state) override;
  void after_update(TrainState& state) override;
  std::string name() const override { return "regularize"; }
  /// The penalty's own; {"chosen": ...}, the channels that greg1 and greg2 push out, is in any case.
  nlohmann::ordered_json state(const TrainState& state) override;
  void restore(const nlohmann::ordered_json& state, const std::string& place) override;

 private:
  std::unique_ptr<Penalty> penalty_;
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

/// What a name in a train stage's `callbacks` stands for. Espalier has none of its own there, for its
/// callbacks have fields of the stage; a program that links the library adds its own.
///
/// They act after the penalty, the average, the pruner, the regrowth and the evaluation, and before clipping,
/// the rows of metrics and the checkpoint: after_backward sees gradients that are not clipped, after_step
/// what pruner and regrowth did in this step, on_epoch_end the evaluation of this epoch, and on_stage_end the
/// average in the weights' place. `espalier check` and estimates of memory make them, too, and check has them
/// act in a few steps that it measures: what they write belongs in on_stage_begin at the earliest.
struct CallbackInfo {
  std::string name, help;
  std::vector<ExtraOption> extra = {};
  std::function<std::unique_ptr<Callback>(const ExtraOptions&)> make;
};
Registry<CallbackInfo>& callbacks();

/// Those that a config names, in its order. UsageError for one whose state is called as that of one of
/// Espalier's.
std::vector<std::unique_ptr<Callback>> named_callbacks(const TrainConfig& config);
/// What a config's steps consist of besides passes, the penalty and the optimizer's update: regrowth, the
/// average, callbacks by name, clipping.
std::vector<std::unique_ptr<Callback>> step_callbacks(const TrainConfig& config);

/// What EvaluateCallback remembers of a stage's evaluations on the validation set.
struct Judgement {
  double best_accuracy = -1;     ///< per cent
  int64_t best_epoch = 0;        ///< from 1; 0: none yet
  double accuracy_to_beat = -1;  ///< so that early_stop sees a gain
  int64_t stale = 0;             ///< evaluations without one

  /// That of the position's stage.
  static Judgement in(const Position& position);
  void put_into(Position& position) const;
};

/// Every eval_every epochs and in the last: accuracy on the test set and, where a share is held out, on that;
/// there it keeps the best epoch (`save_best` is called) and, with early_stop, ends the stage after
/// `patience` evaluations that were not better by more than min_delta than the last that was. A moving
/// average of weights is evaluated in their place.
class EvaluateCallback : public Callback {
 public:
  EvaluateCallback(Loader& test, Loader* validation, std::function<void()> save_best)
      : test_(test), validation_(validation), save_best_(std::move(save_best)) {}
  void on_epoch_end(TrainState& state) override;
  std::string name() const override { return "evaluate"; }
  nlohmann::ordered_json state(const TrainState& state) override;
  void restore(const nlohmann::ordered_json& state, const std::string& place) override;
  const Judgement& judgement() const { return judgement_; }

 private:
  void judge(TrainState& state);

  Loader& test_;
  Loader* validation_;
  std::function<void()> save_best_;
  Judgement judgement_;
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
