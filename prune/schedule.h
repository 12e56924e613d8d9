// Pruning as a book, step 5, schedule: how much at which step.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "espalier/util/extra_options.h"
#include "espalier/util/registry.h"

namespace espalier {

struct Schedule;

/// When a schedule acts, and how much is gone then, where that is no curve from `begin` to `end`.
struct Course {
  bool (*acts_at)(const Schedule& schedule, int64_t step);
  double (*sparsity_at)(const Schedule& schedule, int64_t step, double target);
  int64_t (*last)(const Schedule& schedule);
  /// Whether at that step, where it acts, all that is pruned is let go; null: it never is.
  bool (*lets_go_at)(const Schedule& schedule, int64_t step) = nullptr;
  /// Why it never acts as it should; empty: it does.
  std::string (*why_not)(const Schedule& schedule);
};

/// What a name of a schedule stands for.
struct PruneScheduleInfo {
  std::string name, help;
  std::string paper = {};  ///< authors: title, venue; empty where there is none
  /// Which fields of a config concern it.
  std::vector<std::string> options = {"begin", "end", "every", "initial"};
  std::vector<ExtraOption> extra = {};
  /// What is left of the way to the final sparsity where `rest`, 1 - p, is left of the time: 1 of 1, 0 of 0,
  /// and no more of less. Null, as all that follows: it is gone all at once, at `begin`.
  double (*left)(double rest, const ExtraOptions& extra) = nullptr;
  /// In its place, where that depends on both ends: the sparsity at p in 0..1 between `first` at 0 and `last`
  /// at 1, which does not fall.
  double (*between)(double p, double first, double last, const ExtraOptions& extra) = nullptr;
  const Course* course = nullptr;  ///< or it is no curve at all

  /// Whether sparsity comes little by little.
  bool is_gradual() const { return left || between || course; }
  /// Whether it is about nothing but a sparsity; the others say how much of the way to any target is done.
  bool needs_sparsity() const { return between || course; }
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
/// and for
///   geometric    s(t) = 1 - (1 - s_0) ((1 - s_f) / (1 - s_0))^p: in equal times the same share goes of what
///                is left
///
/// These but one_shot act at begin, begin + every, begin + 2 every, ... and last at `end`, whether or not
/// that is a multiple of `every`: s(begin) is s_0 and s(end) is s_f exactly. And
///   table        acts at the steps of `table`, and s(t) is what stands there
///   alternating  AC/DC: from `begin` on phases of `every` steps, the first dense, the next sparse, and so
///                on; the last before `end`, however short, is sparse, and so is all after it. It acts where
///                one of the other kind begins: all masks are let go, or s_f of all weights are masked anew
///                (Peste, Iofinova, Vladu, Alistarh: AC/DC, NeurIPS 2021)
struct Schedule {
  std::string type = "one_shot";  ///< a row of prune_schedules()
  int64_t begin = 0, end = 0;
  int64_t every = 1;
  double initial = 0.0;                                ///< s_0, what is pruned at `begin`
  std::vector<std::pair<int64_t, double>> table = {};  ///< steps, ascending, and the sparsity from each on
  ExtraOptions extra = {};                             ///< those that the row declares

  /// Whether all goes at one step. UsageError for a type that is not known.
  bool is_at_once() const { return !prune_schedules().named(type).is_gradual(); }
  bool acts_at(int64_t step) const;
  /// Whether at that step all that is pruned is let go, to be chosen anew later.
  bool lets_go_at(int64_t step) const;
  /// Whether what it has pruned may come back: lets_go_at is true of some step.
  bool gives_back() const;
  /// The last step it acts at, and at how many it does.
  int64_t last() const;
  int64_t times() const;
  /// s(step) for the final sparsity s_f = `target`: before it begins `initial`, from last() on s_f.
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

/// UsageError for a schedule of no known type, or one that begins before step 0, ends before it begins, acts
/// every 0 steps, or whose course (Course::why_not) is none.
void check(const Schedule& schedule);

}  // namespace espalier
