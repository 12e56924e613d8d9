// Optimizer: what turns gradients into a step. Its state (momentum, moments) lives in the parameters; an
// optimizer itself is its options and a count of steps, so that cutting a channel or saving a checkpoint
// needs nothing from it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "espalier/core/kernels.h"
#include "espalier/nn/parameter.h"
#include "espalier/util/extra_options.h"
#include "espalier/util/registry.h"

namespace espalier {

/// PyTorch's names, defaults and semantics.
struct OptimizerOptions {
  std::string type = "sgd";  ///< a row of optimizers()
  double lr = 0.0;
  double momentum = 0.0;  ///< sgd
  bool nesterov = false;  ///< sgd
  double weight_decay = 0.0;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;  ///< adam, adamw
  ExtraOptions extra = {};                        ///< those that the row declares
};

class Optimizer {
 public:
  /// Of those of `parameters` that are learned and not frozen: each has as many tensors of its shape as
  /// state, "slot0", "slot1". Those that it holds already stay as they are, for resume(); missing ones start
  /// at 0. Other optimizer state is dropped.
  /// `weight_decay`: of those that set_decay does not name.
  Optimizer(std::vector<Parameter*> parameters, size_t state, double weight_decay);
  virtual ~Optimizer() = default;

  /// One step at the rate `lr`, in one fused pass for each group (scale_rate, set_decay); each gradient is
  /// multiplied by the one number of `gradient_scale` (f32, where the parameters are; undefined: 1) as it is
  /// read: clipping. Parameters without a gradient stay as they are. Masked weights stay 0. Error where
  /// parameters are on several devices, and in the first step where they hold state of earlier steps that
  /// this optimizer neither resumes nor was freed of (clear_optimizer_state).
  void step(double lr, const Tensor& gradient_scale = {});
  void clear_gradients();
  /// From the next step on, `some` of its parameters go at `factor` times the rate that step() is given:
  /// PyTorch's parameter groups, at rates that a schedule scales alike.
  void scale_rate(const std::vector<Parameter*>& some, double factor);
  /// That factor; 0 for a parameter that is not one of its own.
  double factor_of(const Parameter& parameter) const;
  /// From the next step on, `some` of its parameters have that weight decay in place of the options'.
  void set_decay(const std::vector<Parameter*>& some, double weight_decay);
  /// From the next step on: sgd's momentum (that of one without stays 0), adam's and adamw's beta1.
  /// Called by schedules that move the momentum (onecycle); one without has nothing to do.
  virtual void set_momentum(double /*momentum*/) {}

  int64_t steps() const { return steps_; }
  /// Goes on after `steps` steps, whose state the parameters held when this was made. Error if they held
  /// another number of tensors than it needs.
  void resume(int64_t steps);
  /// Begins anew: all its state is 0, and no step has been made; rates and decays of groups stay.
  void restart();
  const std::vector<Parameter*>& parameters() const { return parameters_; }

 protected:
  /// What the parameters of a group have in common in a step.
  struct GroupStep {
    float lr, weight_decay;
    const float* gradient_scale;
  };
  /// One step of `spans`, a span a parameter, in the memory of `device`: w of n numbers by its gradient g,
  /// which is to be multiplied by *gradient_scale unless that is null (clipping), with weight_decay, at the
  /// rate lr. slot0 and slot1 are the state. Where mask is not null and 0, w and the state are to become 0: a
  /// pruned weight stays pruned.
  virtual void update(Device device, const std::vector<UpdateSpan>& spans, const GroupStep& step) = 0;

  std::vector<Parameter*> parameters_;  // the learned ones that are not frozen
  int64_t steps_ = 0;                   // counted before update() is called: 1 in the first

 private:
  struct Settings {
    double factor, weight_decay;  // factor of the rate
    bool operator==(const Settings&) const = default;
  };
  struct Group {
    Settings settings;
    std::vector<Parameter*> parameters;
  };
  /// Error where a masked weight is not 0, on the CPU: the update of an own optimizer that forgets it would
  /// undo pruning.
  void check_masks() const;
  bool checked_ = false;  // after the first step
  /// Changes the settings of some parameters, and regroups.
  void set(const std::vector<Parameter*>& some, double Settings::*field, double value);

  std::string misfit_;              // where parameters did not hold the state of earlier steps
  bool holds_ = false;              // some of them did
  std::vector<Settings> settings_;  // of each of parameters_
  std::vector<Group> groups_;       // of parameters with the same settings
  std::vector<UpdateSpan> spans_;
};

/// What a name of an optimizer stands for.
struct OptimizerInfo {
  std::string name, help;
  std::string paper = {};  ///< authors: title, venue; empty where there is none
  /// Which of momentum, nesterov, betas and eps concern it; rates and weight decay do in any case.
  std::vector<std::string> options = {};
  std::vector<ExtraOption> extra = {};
  double weight_decay = 0;          ///< where none is given
  double min_lr = 0, max_lr = 1e9;  ///< rates in use; others are warned of
  std::function<std::unique_ptr<Optimizer>(const std::vector<Parameter*>&, const OptimizerOptions&)> make;
};
Registry<OptimizerInfo>& optimizers();

/// The optimizer of `options.type` over those of `parameters` that are learned and not frozen. To train on
/// from the start with parameters that an optimizer had before, call clear_optimizer_state first.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options,
                                          const std::vector<Parameter*>& parameters);

/// Frees parameters of all optimizer state, so that the next optimizer begins anew.
void clear_optimizer_state(const std::vector<Parameter*>& parameters);

/// A span for a fused pass over `parameter`: weight, gradient, mask, optimizer state. Of one that has
/// unmasked_value (nn/parameter.h) the weights are those, which no mask holds.
UpdateSpan span_of(Parameter& parameter);

}  // namespace espalier
