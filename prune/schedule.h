// Pruning as a book, step 5, schedule: how much at which step.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace espalier {

/// When a pruner acts while training, and how far it has come then. Steps count from 0. With t in begin..end
/// and p = (t - begin) / (end - begin):
///   one_shot  s(t) = s_f                            acts once, at `begin`; `end` and `every` do not matter
///   linear    s(t) = s_f + (s_0 - s_f) (1 - p)
///   cubic     s(t) = s_f + (s_0 - s_f) (1 - p)^3    Zhu, Gupta: To prune, or not to prune, ICLR 2018
///   workshop ("AGP")
/// Linear and cubic act at begin, begin + every, begin + 2 every, ... and last at `end`, whether or not that
/// is a whole number of `every`: s(end) is s_f exactly.
struct Schedule {
  enum Kind : uint8_t { one_shot, linear, cubic };
  Kind kind = one_shot;
  int64_t begin = 0, end = 0;
  int64_t every = 1;
  double initial = 0.0;  ///< s_0, what is pruned at `begin`

  bool acts_at(int64_t step) const;
  /// The last step it acts at, and at how many it does.
  int64_t last() const { return kind == one_shot ? begin : end; }
  int64_t times() const;
  /// s(step) for the final sparsity s_f = `target`: s_0 before `begin`, s_f from `end` on.
  double sparsity_at(int64_t step, double target) const;
};

const std::vector<std::string>& schedule_names();
Schedule::Kind schedule_named(const std::string& name);

/// What begin, end and every are counted in where a person gives them.
enum class TimeUnit : uint8_t {
  steps,
  epochs,  ///< of training
  share,   ///< of the stage, in 0..1
};
const std::vector<std::string>& time_unit_names();
TimeUnit time_unit_named(const std::string& name);

/// How long a stage is: steps of a whole epoch, and all of its own.
struct StageLength {
  int64_t epoch_steps, steps;

  /// `amount` of `unit` in steps, to the nearest: 1.5 epochs of 391 steps are 587.
  int64_t in_steps(double amount, TimeUnit unit) const;
  /// The step, from 0, at that place: behind 2 epochs of 391 steps, step 782. The stage's very end is its
  /// last step; UsageError for a place past it.
  int64_t step_at(double place, TimeUnit unit) const;
};

/// UsageError for a schedule that begins before step 0, ends before it begins, or acts every 0 steps.
void check(const Schedule& schedule);

}  // namespace espalier
