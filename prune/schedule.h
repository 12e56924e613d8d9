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
  /// s(step) for the final sparsity s_f = `target`: s_0 before `begin`, s_f from `end` on.
  double sparsity_at(int64_t step, double target) const;
};

const std::vector<std::string>& schedule_names();
Schedule::Kind schedule_named(const std::string& name);

/// UsageError for a schedule that begins before step 0, ends before it begins, or acts every 0 steps.
void check(const Schedule& schedule);

}  // namespace espalier
