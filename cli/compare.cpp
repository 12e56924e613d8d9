// espalier compare
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "espalier/cli/arguments.h"
#include "espalier/run/comparison.h"
#include "espalier/util/error.h"
#include "espalier/util/terminal.h"

namespace espalier::cli {
namespace {

/// "criterion,scope" as two.
std::vector<std::string> names_in(const std::string& text) {
  std::vector<std::string> names;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    names.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return names;
}

/// Of runs/* the tables that others wrote there, and a damaged run, are no reason to show none of the rest: a
/// warning each. What is not there at all was mistyped.
std::vector<RunSummary> summaries_of(const std::vector<std::string>& paths) {
  std::vector<RunSummary> runs;
  std::vector<std::string> left_out;
  std::set<std::filesystem::path> seen;  // a run that is named twice is one
  for (const std::string& path : paths) {
    std::error_code none;
    if (const auto place = std::filesystem::canonical(path, none); !none && !seen.insert(place).second)
      continue;
    const bool is_last_hope = runs.empty() && left_out.size() + 1 == paths.size();
    try {
      runs.push_back(summary_of(path));
    } catch (const Error& error) {
      if (is_last_hope || !std::filesystem::exists(path)) throw;
      left_out.push_back(error.what());
    }
  }
  for (const std::string& reason : left_out) warn(reason + "; left out");
  return runs;
}

}  // namespace

void compare(const Given& given) {
  std::vector<std::string> folders;
  std::optional<std::string> group_by, sort, columns;
  bool stages = false, csv = false, json = false;
  Arguments arguments("compare");
  arguments.positional("RUN", folders, "Folders of runs, finished or not, e.g. runs/*")
      .text("--group-by", "FIELD,...", group_by,
            "A row for each value of these fields of the config, e.g. criterion,sparsity: mean and deviation")
      .text("--sort", "COLUMN", sort, "Sort by a column; descending: -COLUMN")
      .text("--columns", "NAME,...", columns, "Show these columns or fields of the config; all: every one")
      .flag("--stages", stages, "A row for each stage, not only for the last")
      .flag("--csv", csv, "Print CSV, numbers with all digits")
      .flag("--json", json, "Print the same as JSON, a list of objects");
  if (!arguments.parse(given)) return;
  if (csv && json) fail_usage("compare: --csv and --json: one of them");

  const std::vector<RunSummary> runs = summaries_of(folders);
  Comparison comparison(runs, stages);
  if (group_by) comparison.group_by(names_in(*group_by));
  if (sort) comparison.sort(*sort);
  if (columns) comparison.choose(names_in(*columns));
  if (!csv && !json) return print(comparison.table(terminal_width()));
  if (csv)
    print(comparison.csv());
  else
    print_json(comparison.json(), 2);
  for (const std::string& line : {comparison.left_out(), comparison.repeats()})
    if (!line.empty()) note(line);
}

}  // namespace espalier::cli
