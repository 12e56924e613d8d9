// Masks that move while a stage trains (prune/regrow.h), as callbacks. Moving them and, of methods that train
// all weights, having the values follow are two: between them stand the moving average of weights, which is
// to see the values of this step, and the pruner, before whose act no mask moves.
#pragma once

#include <map>
#include <memory>

#include "espalier/prune/regrow.h"
#include "espalier/prune/straight_through.h"
#include "espalier/train/callback.h"

namespace espalier {

/// When a train stage's masks move. UsageError for a schedule that goes beyond its steps.
RegrowSchedule regrow_schedule(const RegrowConfig& config, const StageLength& stage);

/// Where it acts: after the step's update, and after the pruner of this stage, so that what is masked by then
/// is what may grow. Layers without a mask stay as they are. Where there is something to move and the method
/// replaces updates, the step's is left out.
///
/// Only then weights, and gradients where the method looks at these, come to the host.
class RegrowCallback : public Callback {
 public:
  explicit RegrowCallback(const RegrowConfig& config);
  void on_stage_begin(TrainState& state) override;
  void after_backward(TrainState& state) override;
  void after_step(TrainState& state) override;
  void on_stage_end(TrainState& state) override;
  void add_state(const std::vector<Parameter*>& parameters) const override;

 private:
  bool acts_at(const TrainState& state, int64_t step);
  std::vector<RegrowLayer> layers(Module& model) const;
  bool keeps_average() const { return method_.needs == GrowNeeds::average; }

  const RegrowConfig config_;
  const RegrowthInfo& method_;
  const std::optional<Explored> explored_;
  std::optional<RegrowSchedule> schedule_;  // once the stage is known
  std::map<const Parameter*, Tensor>
      gradients_;  // of this step: criteria that look at data make others after it
};

/// Under straight_through and top_kast: a step moves all weights, and the values are what the masks leave.
class StraightThroughCallback : public Callback {
 public:
  explicit StraightThroughCallback(const RegrowConfig& config);
  void on_stage_begin(TrainState& state) override;
  void after_backward(TrainState& state) override;
  void after_update(TrainState& state) override;
  void on_stage_end(TrainState& state) override;
  void add_state(const std::vector<Parameter*>& parameters) const override;

 private:
  std::optional<Explored> explored_;
};

/// What stands before the moving average of weights; null: nothing.
std::unique_ptr<Callback> straight_through_callback(const TrainConfig& config);

}  // namespace espalier
