// What the runs of a sweep have come to: a row for each point, of its seeds the mean and the sample standard
// deviation. As a table for a person and in Markdown; of each run by itself as CSV, and all of it as JSON.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "espalier/run/measures.h"
#include "espalier/run/run_summary.h"
#include "espalier/run/sweep.h"
#include "espalier/run/sweep_plan.h"
#include "espalier/util/terminal.h"

namespace espalier {

/// A run as its folder says it, or why it says nothing.
struct SweptRun {
  std::string point;
  int64_t seed = 0;
  std::string folder;
  std::vector<StageSummary> stages = {};  ///< of one that is done
  nlohmann::ordered_json made_by = {};    ///< threads, version, commit; the same
  std::string missing = {};               ///< why it is not done; empty: it is

  std::string label() const;  ///< as PlannedRun's
};
/// Of a run that has ended; `failure`: why it has not come to its end. Error if its files are damaged.
SweptRun swept(const PlannedRun& run, const std::string& failure = "");
/// The time of all its stages.
double seconds_of(const SweptRun& run);

class SweepTable {
 public:
  SweepTable(const Sweep& sweep, std::vector<SweptRun> runs);

  /// "98.21 ± 0.09 % (3)": mean, deviation where one of the column's is not 0, number of seeds; "-" where
  /// there is no run. Below it, which runs are missing.
  std::string table(size_t width = any_width) const;
  std::string markdown() const;
  /// A line a run: all that was measured after its last stage, then, as STAGE.NAME, after each.
  std::string csv() const;
  /// The points with what they set and {"mean", "deviation", "n"} of each number in the CSV; and the runs.
  nlohmann::ordered_json json() const;
  /// Writes results.csv and results.json there, each whole or not at all.
  void write(const std::filesystem::path& folder) const;

 private:
  /// Titles, and a row of texts for each point.
  struct Texts {
    std::vector<std::string> titles;
    std::vector<std::vector<std::string>> rows;
  };
  Texts texts() const;
  std::vector<std::string> notes() const;
  Spread spread(const SweepPoint& point, const SweepColumn& column) const;
  /// Those of CSV and JSON: all that any of the runs has.
  std::vector<SweepColumn> all_columns() const;

  Sweep sweep_;
  std::vector<SweptRun> runs_;
};

}  // namespace espalier
