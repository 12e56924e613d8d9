#include "espalier/run/sweep_plan.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "espalier/config/schema.h"
#include "espalier/run/build.h"
#include "espalier/run/config.h"
#include "espalier/run/parts.h"
#include "espalier/run/resume.h"
#include "espalier/run/run.h"
#include "espalier/run/run_folder.h"
#include "espalier/util/interrupt.h"
#include "espalier/util/mistakes.h"
#include "espalier/util/stopwatch.h"
#include "espalier/util/utf8.h"

namespace espalier {

namespace fs = std::filesystem;

namespace {

/// What is wrong with points: each line once, with the points that it is of.
class PointMistakes {
 public:
  template <class Act>
  bool attempt(const SweepPoint& point, const Act& act) {
    try {
      act();
      return true;
    } catch (const Error& error) {
      add(point, error);
      return false;
    }
  }

  void report(const Sweep& sweep) const {
    Mistakes all;
    for (const Line& line : lines_) {
      const std::string text = join(printable(sweep.file), ": ", whose(line, sweep), line.text);
      if (line.is_usage)
        all.add("", UsageError(text));
      else
        all.add("", Error(text));
    }
    all.report(sweep.file);
  }

 private:
  struct Line {
    std::string text;
    bool is_usage;
    std::vector<std::string> points;
  };

  void add(const SweepPoint& point, const Error& error) {
    std::vector<std::string> texts{error.what()};
    if (const auto* several = dynamic_cast<const SeveralLines*>(&error))
      texts.assign(several->lines.begin(), several->lines.end() - 1);  // which counts them
    for (const std::string& text : texts) {
      auto line = std::ranges::find(lines_, text, &Line::text);
      if (line == lines_.end()) {
        lines_.push_back({text, dynamic_cast<const UsageError*>(&error) != nullptr, {}});
        line = lines_.end() - 1;
      }
      if (std::ranges::find(line->points, point.name) == line->points.end())
        line->points.push_back(point.name);
    }
  }

  /// "point 'rigl': "; nothing of what holds for all.
  static std::string whose(const Line& line, const Sweep& sweep) {
    constexpr size_t most = 3;
    const size_t n = line.points.size();
    if (n == sweep.points.size()) return "";
    std::string names;
    for (size_t i = 0; i < std::min(n, most); ++i)
      names += (i ? ", '" : "'") + printable(line.points[i], 60) + "'";
    return join(n == 1 ? "point " : "points ", names, n > most ? join(" and ", n - most, " more") : "", ": ");
  }

  std::vector<Line> lines_;
};

/// Finds out about each point's runs in turn.
class Planner {
 public:
  Planner(const Sweep& sweep, const fs::path& folder, const std::optional<std::string>& root)
      : sweep_(sweep), folder_(folder), root_(root) {}

  void add(const SweepPoint& point) {
    std::string file;
    if (!mistakes_.attempt(point, [&] { file = config_of(sweep_, point); })) return;
    if (!mistakes_.attempt(point, [&] { check_settings(sweep_, point, file); })) return;
    bool checked = false;
    for (const int64_t seed : sweep_.seeds) {
      PlannedRun run{.point = point.name,
                     .seed = seed,
                     .folder = folder_ / point.name / join("seed", seed),
                     .config = file,
                     .overrides = overrides_of(sweep_, point, seed)};
      const bool is_sound = mistakes_.attempt(point, [&] {
        Mistakes wrong;
        Config config = load(run, wrong);
        if (wrong.empty()) run.state = state_of(run, config);
        if (run.state == PlannedRun::State::fresh && (!checked || mentions_seed(sweep_, point))) {
          checked = true;
          wrong.attempt("/precision", [&] { use_precision(config); });
          check_parts(config, root_, wrong, {}, &data_);
        }
        wrong.report(file);
        for (const StageConfig& stage : config.stages) stages_.push_back(stage.name);
      });
      if (!is_sound && !mentions_seed(sweep_, point)) return;  // the other seeds' are as wrong
      runs_.push_back(std::move(run));
    }
  }

  std::vector<PlannedRun> runs() {
    mistakes_.report(sweep_);
    check_report();
    if (!others_.empty())
      fail_usage(others_.front(), others_text(), "; another --output DIR or name begins anew");
    std::ranges::stable_sort(runs_, {}, [&](const PlannedRun& run) {
      return std::ranges::find(sweep_.seeds, run.seed) - sweep_.seeds.begin();
    });
    return std::move(runs_);
  }

 private:
  static Config load(const PlannedRun& run, Mistakes& mistakes) {
    const RunOptions resumed{.output = run.folder.string(), .data = {}, .resume = true};
    return load_config(
        run.config, run.overrides,
        [&](const std::string& name, const std::string& weights) {
          return begun_run(resumed, name, weights);
        },
        mistakes, "in the sweep");
  }

  PlannedRun::State state_of(const PlannedRun& run, Config config) {
    const RunFolder folder(run.folder);
    const std::string place = run.folder.string();
    std::error_code none;
    if (!folder.holds_run()) {
      check_free(folder, config, false);
      return PlannedRun::State::fresh;
    }
    if (!fs::exists(folder.config(), none))
      fail_usage(place, ": holds ", folder.files().front().filename().string(),
                 " but no config.json, so that nobody knows of what run; another --output DIR begins anew");
    const Config theirs = load_run_config(folder.config().string());
    if (config.model.classes == 0) config.model.classes = theirs.model.classes;  // of the data, of then
    std::string at = first_difference(theirs, config, false);
    if (at.empty() && theirs.precision != config.precision) at = "precision";
    if (!at.empty()) {
      others_.push_back(join(place, ": holds a run of another config, which differs at ", at));
      return PlannedRun::State::done;
    }
    if (fs::exists(folder.result(), none)) return PlannedRun::State::done;
    check_free(folder, config, true);
    return PlannedRun::State::begun;
  }

  /// ", and so do 3 more"
  std::string others_text() const {
    const size_t more = others_.size() - 1;
    return more == 0 ? "" : join(", and so ", more == 1 ? "does " : "do ", more, " more");
  }

  void check_report() const {
    for (size_t i = 0; i < sweep_.report.size(); ++i) {
      const std::string& stage = sweep_.report[i].stage;
      if (stage.empty() || schema::holds(stages_, stage)) continue;
      schema::Names known;
      for (const std::string& name : stages_)
        if (!schema::holds(known, name)) known.push_back(name);
      fail_usage(printable(sweep_.file), ": /report/", i, ": no point has a stage '", printable(stage), "'",
                 schema::suggest(stage, known));
    }
  }

  const Sweep& sweep_;
  const fs::path folder_;
  const std::optional<std::string> root_;
  DataMemo data_;
  PointMistakes mistakes_;
  std::vector<std::string> stages_;
  std::vector<std::string> others_;  ///< runs of other configs
  std::vector<PlannedRun> runs_;
};

}  // namespace

std::string PlannedRun::label() const { return join(printable(point), ", seed ", seed); }

std::vector<PlannedRun> plan_sweep(const Sweep& sweep, const fs::path& folder,
                                   const std::optional<std::string>& root) {
  if (RunFolder(folder).holds_run())
    fail_usage(folder.string(),
               ": holds a run, and a sweep has a folder of its own; --output DIR writes elsewhere");
  Planner planner(sweep, folder, root);
  for (const SweepPoint& point : sweep.points) planner.add(point);
  return planner.runs();
}

FileDescriptor take_sweep_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail_usage(folder.string(), ": this output folder cannot be made: ", error.message());
  FileDescriptor taken(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (taken.get() < 0) fail_errno(folder, "cannot be opened");
  if (::flock(taken.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    fail_usage(folder.string(), ": another sweep is running in this folder");
  return taken;
}

void await_folders(const std::vector<PlannedRun>& runs, double seconds, const Say& say) {
  const Stopwatch watch;
  bool said = false;
  for (const PlannedRun& run : runs) {
    const std::string place = run.folder.string();
    while (RunFolder(run.folder).is_in_use()) {
      stop_if_interrupted();
      if (watch.seconds() > seconds) fail_usage(place, ": another process is running in this folder");
      if (!said && say) say(place + ": another process is running in this folder, which may end soon");
      said = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }
}

}  // namespace espalier
