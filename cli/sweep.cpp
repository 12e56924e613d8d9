// espalier sweep
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>

#include "espalier/cli/arguments.h"
#include "espalier/config/schema_help.h"
#include "espalier/core/parallel.h"
#include "espalier/run/run_folder.h"
#include "espalier/run/sweep_plan.h"
#include "espalier/run/sweep_table.h"
#include "espalier/util/definition_list.h"
#include "espalier/util/error.h"
#include "espalier/util/input_file.h"
#include "espalier/util/interrupt.h"
#include "espalier/util/jobs.h"
#include "espalier/util/table.h"
#include "espalier/util/terminal.h"
#include "espalier/util/utf8.h"

namespace espalier::cli {
namespace {

namespace fs = std::filesystem;
using State = PlannedRun::State;

/// What all runs are given besides their configs.
struct ForAllRuns {
  std::optional<std::string> data, device;
  int64_t threads = 1;
};

/// --device as it was typed: what it has chosen here is to be chosen by each run.
std::optional<std::string> device_in(const Given& given) {
  const std::string name = "--device";
  std::optional<std::string> device;
  for (size_t i = 0; i < given.size(); ++i) {
    if (given[i].starts_with(name + "=")) device = given[i].substr(name.size() + 1);
    if (given[i] == name && i + 1 < given.size()) device = given[i + 1];
  }
  return device;
}

/// The words of `espalier train` for a run, which begins, or goes on where there is something to go on from.
std::vector<std::string> command_for(const PlannedRun& run, const ForAllRuns& all) {
  std::vector<std::string> words{"espalier",
                                 "train",
                                 run.config,
                                 "--quiet",
                                 "--output=" + run.folder.string(),
                                 fmt::format("--threads={}", all.threads)};
  if (all.data) words.push_back("--data=" + *all.data);
  if (all.device) words.push_back("--device=" + *all.device);
  if (RunFolder(run.folder).holds_run()) words.push_back("--resume");
  for (const std::string& setting : run.overrides) words.push_back("--set=" + setting);
  return words;
}

/// The last line of `text` that is not empty.
std::string last_line(const std::string& text) {
  std::string last;
  for (const std::string_view line : lines_of(text))
    if (!line.empty()) last = line;
  return last;
}

/// Why a run has not come to its end: its last words, and what ended it if that was a signal.
std::string failure_of(const PlannedRun& run, const JobEnd& end) {
  std::string words = last_line(end.errors);
  try {
    const RunFolder folder(run.folder);
    if (words.empty() && fs::exists(folder.log())) words = last_line(read_file(folder.log()));
  } catch (const Error&) {  // a log that cannot be read says nothing
  }
  constexpr std::string_view who = "espalier: ";
  if (words.starts_with(who)) words.erase(0, who.size());
  words = printable(words, longest_message);
  if (end.signal != 0)
    return fmt::format("ended by signal {} ({}){}{}", end.signal, ::strsignal(end.signal),
                       words.empty() ? "" : "; its last line: ", words);
  return words.empty() ? fmt::format("exit code {}", end.code) : words;
}

/// What a quiet run that has succeeded wrote to standard error are warnings, which its log has, too.
std::string warnings_in(const std::string& errors, const fs::path& log) {
  const int64_t count = std::ssize(lines_of(errors));
  return count ? fmt::format("; {} {}: {}", count, plural(count, "warning"), log.string()) : "";
}

/// "6 runs: 2 done, 1 interrupted, 3 to begin"
std::string counts_of(const std::vector<PlannedRun>& runs) {
  const auto count = [&](State state) { return std::ranges::count(runs, state, &PlannedRun::state); };
  const auto all = static_cast<int64_t>(runs.size());
  return fmt::format("{} {}: {} done, {} interrupted, {} to begin", grouped(all), plural(all, "run"),
                     grouped(count(State::done)), grouped(count(State::begun)), grouped(count(State::fresh)));
}

std::string list_of_runs(const std::vector<PlannedRun>& runs) {
  Table table({"<point", "seed", "<state", "<folder"});
  for (const PlannedRun& run : runs)
    table.add({printable(run.point), std::to_string(run.seed),
               run.state == State::done    ? "done"
               : run.state == State::begun ? "interrupted"
                                           : "to begin",
               printable(run.folder.string())});
  return table.str(terminal_width()) + counts_of(runs) + "\n";
}

/// Does what is left to do, and says why runs have failed, by their places in `runs`.
class Runner {
 public:
  Runner(const std::vector<PlannedRun>& runs, const ForAllRuns& all, int64_t jobs, bool to_stderr)
      : runs_(runs), all_(all), jobs_(jobs), to_stderr_(to_stderr) {
    for (size_t i = 0; i < runs.size(); ++i)
      if (runs[i].state != State::done) left_.push_back(i);
  }

  std::map<size_t, std::string> run() {
    std::vector<std::vector<std::string>> commands;
    for (const size_t i : left_) commands.push_back(command_for(runs_[i], all_));
    try {
      run_jobs("/proc/self/exe", commands, static_cast<size_t>(jobs_),
               [&](size_t which, const JobEnd& end) { ended(left_[which], end); });
    } catch (const Interrupted&) {
      warn(fmt::format("interrupted; {} of {} runs are done: the same command goes on",
                       done_before() + ended_, runs_.size()));
      throw;
    }
    return std::move(failures_);
  }

  void say(const std::string& line) const {
    if (to_stderr_) {
      note(line);
      return;
    }
    print(line + "\n");
    std::fflush(stdout);
  }

 private:
  size_t done_before() const { return runs_.size() - left_.size(); }

  void ended(size_t which, const JobEnd& end) {
    const PlannedRun& run = runs_[which];
    if (!end.succeeded() && interrupt_signal() != 0) return;  // it has saved what it has
    std::string failure = end.succeeded() ? "" : failure_of(run, end);
    try {
      const SweptRun result = swept(run, failure);
      failure = result.missing;
      if (failure.empty()) {
        ++ended_;
        return say(fmt::format("{}  {}  accuracy {:.2f} %, {}{}", progress(), run.label(),
                               result.stages.back().measured.value("accuracy", 0.0),
                               duration_text(seconds_of(result)),
                               warnings_in(end.errors, RunFolder(run.folder).log())));
      }
    } catch (const Error& error) {
      failure = error.what();
    }
    failures_[which] = failure;
    warn(fmt::format("{}  {}  failed: {}", progress(), run.label(), failure));
  }

  /// "3/6", of all runs that have come to an end.
  std::string progress() const {
    return fmt::format("{}/{}", done_before() + ended_ + failures_.size(), runs_.size());
  }

  const std::vector<PlannedRun>& runs_;
  const ForAllRuns& all_;
  const int64_t jobs_;
  const bool to_stderr_;
  std::vector<size_t> left_;
  size_t ended_ = 0;
  std::map<size_t, std::string> failures_;
};

}  // namespace

std::string sweep_fields() {
  const size_t width = help_width();
  std::string text = wrapped(
      "A sweep is a JSON file, which may have comments as a config may:\n"
      "{\"config\": \"mnist_mlp.json\", \"seeds\": 3, \"grid\": {\"stages.pruned.prune.criterion\": [\"l1\", "
      "\"lamp\"]}}\n",
      width);
  for (const schema::Section& section : schema::sections(sweep_description()))
    text += "\n" + schema::section_text(section, width);
  return text;
}

void sweep(const Given& given) {
  std::string file;
  std::optional<std::string> output;
  ForAllRuns all;
  int64_t jobs = 1;
  bool dry_run = false, markdown = false;
  Arguments arguments("sweep");
  arguments.positional("SWEEP", file, "A JSON file that says what is run: `espalier help sweep`")
      .path(
          "--output", "DIR", output,
          "Folder of the sweep (default: runs/NAME); its runs go to DIR/POINT/seedN, its results beside them")
      .whole("--jobs", jobs, 1, max_threads, "Runs at a time, which share the threads (default: 1)")
      .data_root(all.data)
      .device()
      .threads()
      .flag("--dry-run", dry_run, "List the runs and which are done; run nothing, write nothing")
      .flag("--markdown", markdown, "Print the table in Markdown, and all else to standard error");
  if (!arguments.parse(given)) return;

  all.device = device_in(given);
  all.threads = std::max<int64_t>(1, threads() / jobs);
  const Sweep wanted = load_sweep(file);
  const fs::path folder = output ? fs::path(*output) : run_path(wanted.name);
  const std::vector<PlannedRun> runs = plan_sweep(wanted, folder, all.data);
  if (dry_run) return print(list_of_runs(runs));

  const FileDescriptor taken = take_sweep_folder(folder);
  catch_interrupts();
  await_folders(runs, /*seconds=*/30, [](const std::string& line) { note(line); });
  Runner runner(runs, all, jobs, markdown);
  if (std::ranges::any_of(runs, [](const PlannedRun& run) { return run.state != State::done; }))
    runner.say(fmt::format("{}: {}; {} at a time, on {} {} each", folder.string(), counts_of(runs), jobs,
                           all.threads, plural(all.threads, "thread")));
  const std::map<size_t, std::string> failures = runner.run();

  std::vector<SweptRun> results;
  for (size_t i = 0; i < runs.size(); ++i) {
    const auto failure = failures.find(i);
    results.push_back(swept(runs[i], failure == failures.end() ? "" : failure->second));
  }
  const SweepTable table(wanted, std::move(results));
  table.write(folder);
  print(markdown ? table.markdown() : table.table(terminal_width()));
  if (!markdown)
    print((folder / "results.csv").string() + " and results.json hold all numbers of all runs\n");
  std::vector<std::string> failed;
  for (const auto& [which, why] : failures) failed.push_back(runs[which].label());
  if (!failed.empty())
    fail(folder.string(), ": ", failed.size(), " of ", runs.size(), " ", plural(std::ssize(runs), "run"),
         " failed: ", fmt::format("{}", fmt::join(failed, "; ")));
}

}  // namespace espalier::cli
