#include "espalier/prune/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "espalier/util/error.h"
#include "espalier/util/spelling.h"

namespace espalier {

namespace {

double linear(double rest, const ExtraOptions&) { return rest; }
double cubic(double rest, const ExtraOptions&) { return rest * rest * rest; }

double exponential(double rest, const ExtraOptions&) {
  constexpr double r = 0.01;
  return (std::pow(r, 1.0 - rest) - r) / (1.0 - r);
}

double cosine(double rest, const ExtraOptions&) { return (1.0 - std::cos(std::numbers::pi * rest)) / 2.0; }

double geometric(double p, double first, double last, const ExtraOptions&) {
  if (first >= last) return last;
  return std::clamp(1.0 - (1.0 - first) * std::pow((1.0 - last) / (1.0 - first), p), first, last);
}

// --- table ---

bool table_acts_at(const Schedule& s, int64_t step) {
  return std::ranges::any_of(s.table, [=](const auto& row) { return row.first == step; });
}

double table_sparsity_at(const Schedule& s, int64_t step, double) {
  double sparsity = s.initial;
  for (const auto& [from, then] : s.table)
    if (from <= step) sparsity = then;
  return sparsity;
}

int64_t table_last(const Schedule& s) { return s.table.back().first; }

std::string why_no_table(const Schedule& s) {
  if (s.table.empty()) return "has no rows";
  if (s.table.front().first < 0)
    return join("begins at step ", s.table.front().first, ", expected 0 or later");
  for (const auto& [step, sparsity] : s.table)
    if (!(sparsity >= 0 && sparsity <= 1))
      return join("has sparsity ", sparsity, " at step ", step, ", expected 0..1");
  for (size_t i = 1; i < s.table.size(); ++i) {
    const auto& [before, less] = s.table[i - 1];
    const auto& [step, more] = s.table[i];
    if (step <= before)
      return join("has step ", step, " after step ", before, ", expected a later one in each row");
    if (more < less)
      return join("falls from ", less, " to ", more, " at step ", step,
                  ", and what is pruned is not given back");
  }
  return "";
}

constexpr Course of_table{table_acts_at, table_sparsity_at, table_last, nullptr, why_no_table};

// --- alternating ---

int64_t phases(const Schedule& s) { return (s.end - s.begin + s.every - 1) / s.every; }

/// The last phase, of those from `begin` on, is sparse whatever its number.
bool is_sparse_phase(const Schedule& s, int64_t phase) { return phase % 2 == 1 || phase >= phases(s) - 1; }

bool is_sparse_at(const Schedule& s, int64_t step) {
  return step >= s.begin && is_sparse_phase(s, (step - s.begin) / s.every);
}

int64_t last_change(const Schedule& s) {
  int64_t phase = phases(s) - 1;
  if (phase > 0 && is_sparse_phase(s, phase - 1)) --phase;
  return s.begin + std::max<int64_t>(phase, 0) * s.every;
}

bool alternating_acts_at(const Schedule& s, int64_t step) {
  if (step < s.begin || step > last_change(s)) return false;
  return step == s.begin || is_sparse_at(s, step) != is_sparse_at(s, step - 1);
}

double alternating_sparsity_at(const Schedule& s, int64_t step, double target) {
  return is_sparse_at(s, step) ? target : 0;
}

bool alternating_lets_go_at(const Schedule& s, int64_t step) {
  return alternating_acts_at(s, step) && !is_sparse_at(s, step);
}

std::string why_not_alternating(const Schedule& s) {
  if (phases(s) > 1) return "";
  return join("has one phase, of ", s.end - s.begin,
              " steps, which is the last, and sparse: expected 'every' ", "below ", s.end - s.begin);
}

constexpr Course of_alternating{alternating_acts_at, alternating_sparsity_at, last_change,
                                alternating_lets_go_at, why_not_alternating};

}  // namespace

Registry<PruneScheduleInfo>& prune_schedules() {
  static Registry<PruneScheduleInfo> all(
      "schedule of sparsity",
      {{.name = "one_shot", .help = "none, from begin on", .options = {"begin"}},
       {.name = "linear", .help = "1 - p", .left = linear},
       {.name = "cubic",
        .help = "(1 - p)^3",
        .paper = "Zhu, Gupta: To prune, or not to prune, ICLR 2018 workshop",
        .left = cubic},
       {.name = "exponential", .help = "(0.01^p - 0.01) / 0.99", .left = exponential},
       {.name = "cosine",
        .help = "(1 + cos(pi p)) / 2",
        .paper = "Dettmers, Zettlemoyer: Sparse Networks from Scratch, 2019",
        .left = cosine},
       {.name = "geometric",
        .help = "of what is left the same share goes each time: s = 1 - (1 - s_0) ((1 - s_f) / (1 - s_0))^p",
        .between = geometric},
       {.name = "table", .help = "what the rows of table say", .options = {"table"}, .course = &of_table},
       {.name = "alternating",
        .help =
            "from begin on every so long dense and sparse in turn, dense first; the last phase before end "
            "is sparse. Where a dense one begins, masks are let go and the optimizer begins anew; where a "
            "sparse one does, masks are taken anew",
        .paper = "Peste, Iofinova, Vladu, Alistarh: AC/DC: Alternating Compressed/DeCompressed Training of "
                 "Deep Neural Networks, NeurIPS 2021",
        .options = {"begin", "end", "every"},
        .course = &of_alternating}});
  return all;
}

bool Schedule::acts_at(int64_t step) const {
  const PruneScheduleInfo& info = prune_schedules().named(type);
  if (!info.is_gradual()) return step == begin;
  if (info.course) return info.course->acts_at(*this, step);
  return step >= begin && step <= end && ((step - begin) % every == 0 || step == end);
}

bool Schedule::lets_go_at(int64_t step) const {
  const Course* course = prune_schedules().named(type).course;
  return course && course->lets_go_at && course->lets_go_at(*this, step);
}

bool Schedule::gives_back() const {
  const Course* course = prune_schedules().named(type).course;
  return course && course->lets_go_at;
}

int64_t Schedule::last() const {
  const PruneScheduleInfo& info = prune_schedules().named(type);
  if (info.course) return info.course->last(*this);
  return info.is_gradual() ? end : begin;
}

int64_t Schedule::times() const {
  const PruneScheduleInfo& info = prune_schedules().named(type);
  if (!info.is_gradual()) return 1;
  if (!info.course) return 1 + (end - begin) / every + ((end - begin) % every != 0);
  int64_t times = 0;
  for (int64_t step = 0; step <= last(); ++step) times += acts_at(step);
  return times;
}

double Schedule::sparsity_at(int64_t step, double target) const {
  const PruneScheduleInfo& info = prune_schedules().named(type);
  if (info.course) return info.course->sparsity_at(*this, step, target);
  if (step < begin) return initial;
  if (!info.is_gradual() || step >= end) return target;
  if (step == begin) return initial;
  const auto passed = static_cast<double>(step - begin), all = static_cast<double>(end - begin);
  const ExtraOptions options = extra.with_defaults(info.extra, "schedule " + info.name);
  if (info.between) return info.between(passed / all, initial, target, options);
  return target + (initial - target) * info.left((all - passed) / all, options);
}

const std::vector<std::string>& time_unit_names() {
  static const std::vector<std::string> names = {"steps", "epochs", "share"};
  return names;
}

TimeUnit time_unit_named(const std::string& name) {
  return static_cast<TimeUnit>(position_of_name("unit of time", name, time_unit_names()));
}

int64_t StageLength::in_steps(double amount, TimeUnit unit) const {
  const int64_t one = unit == TimeUnit::epochs ? epoch_steps : unit == TimeUnit::share ? steps : 1;
  return std::llround(std::min(1e15, amount * static_cast<double>(one)));
}

int64_t StageLength::step_at(double place, TimeUnit unit, const char* whose) const {
  const int64_t step = in_steps(place, unit), end = unit == TimeUnit::steps ? steps - 1 : steps;
  if (step > end)
    fail_usage(whose, ": acts at step ", step, unit == TimeUnit::epochs ? join(" (epoch ", place, ")") : "",
               ", but the stage has steps 0 to ", steps - 1);
  return std::min(step, steps - 1);
}

void check(const Schedule& schedule) {
  if (schedule.begin < 0)
    fail_usage("prune schedule: begins at step ", schedule.begin, ", expected 0 or later");
  const PruneScheduleInfo& info = prune_schedules().named(schedule.type);
  if (!info.is_gradual()) return;
  if (schedule.end < schedule.begin)
    fail_usage("prune schedule: ends at step ", schedule.end, ", before it begins at step ", schedule.begin);
  if (schedule.every < 1)
    fail_usage("prune schedule: acts every ", schedule.every, " steps, expected 1 or more");
  if (!info.course) return;
  if (const std::string why = info.course->why_not(schedule); !why.empty())
    fail_usage("prune schedule: ", info.name, " ", why);
}

}  // namespace espalier
