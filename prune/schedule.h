// Pruning as a book, step 5, schedule: how much at which step.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "espalier/util/extra_options.h"
#include "espalier/util/registry.h"

namespace espalier {

/// What a name of a schedule stands for.
struct PruneScheduleInfo {
  std::string name, help;
  std::string paper = {};  ///< authors: title, venue; empty where there is none
  std::vector<ExtraOption> extra = {};
  /// What is left of the way to the final sparsity where `rest`, 1 - p, is left of the time: 1 of 1, 0 of 0,
  /// and no more of less. Null: it is gone all at once, at `begin`.
  double (*left)(double rest, const ExtraOptions& extra) = nullptr;
};
Registry<PruneScheduleInfo>& prune_schedules();

/// When a pruner acts while training, and how far it has come then. Steps count from 0. With t in begin..end
/// and p = (t - begin) / (end - begin) it is s(t) = s_f + (s_0 - s_f) left(1 - p), where left is for
///   one_shot     0: it acts once, at `begin`; `end` and `every` do not matter
///   linear       1 - p
///   cubic        (1 - p)^3; Zhu, Gupta: To prune, or not to prune, ICLR 2018 workshop ("AGP")
///   exponential  (r^p - r) / (1 - r), r = 0.01: in equal times it falls by nearly the same factor
///   cosine       (1 + cos(pi p)) / 2; the curve of Loshchilov, Hutter: SGDR, ICLR 2017, which the pruning
///                rate of Dettmers, Zettlemoyer: Sparse Networks from Scratch, 2019, follows
///
/// All but one_shot act at begin, begin + every, begin + 2 every, ... and last at `end`, whether or not that
/// is a multiple of `every`: s(begin) is s_0 and s(end) is s_f exactly.
struct Schedule {
  std::string type = "one_shot";  ///< a row of prune_schedules()
  int64_t begin = 0, end = 0;
  int64_t every = 1;
  double initial = 0.0;     ///< s_0, what is pruned at `begin`
  ExtraOptions extra = {};  ///< those that the row declares

  /// Whether all goes at one step. UsageError for a type that is not known.
  bool is_at_once() const { return !prune_schedules().named(type).left; }
  bool acts_at(int64_t step) const;
  /// The last step it acts at, and at how many it does.
  int64_t last() const { return is_at_once() ? begin : end; }
  int64_t times() const;
  /// s(step) for the final sparsity s_f = `target`: s_0 before `begin`, s_f from `end` on.
  double sparsity_at(int64_t step, double target) const;
};

/// What begin, end and every are counted in where a person gives them.
enum class TimeUnit : uint8_t {
  steps,
  epochs,  ///< of training
  share,   ///< of the stage, in 0..1
};
const std::vector<std::string>& time_unit_names();
TimeUnit time_unit_named(const std::string& name);

/// How long a stage is: steps of a full epoch, and of the stage.
struct StageLength {
  int64_t epoch_steps, steps;

  /// `amount` of `unit` in steps, to the nearest: 1.5 epochs of 391 steps are 587.
  int64_t in_steps(double amount, TimeUnit unit) const;
  /// The step, from 0, at that place: after 2 epochs of 391 steps, step 782. The stage's very end is its
  /// last step; UsageError, which begins with `whose`, for a place past it.
  int64_t step_at(double place, TimeUnit unit, const char* whose = "prune.schedule") const;
};

/// UsageError for a schedule of no known type, or one that begins before step 0, ends before it begins, or
/// acts every 0 steps.
void check(const Schedule& schedule);

}  // namespace espalier
