// Runs side by side: a row for each run, or for each group of runs that have fields of the config in common;
// first the fields that differ, then what was measured. As a table for a person, as CSV and JSON for
// programs.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "espalier/run/config_fields.h"
#include "espalier/run/run_summary.h"
#include "espalier/util/terminal.h"

namespace espalier {

class Comparison {
 public:
  /// A row of each run as it is by now, or with `all_stages` as it was after each stage.
  Comparison(const std::vector<RunSummary>& runs, bool all_stages);

  // Each of them throws UsageError where a name means no column, or several. A field is called by any end of
  // its path that means one: "criterion", "pruned.sparsity"; if several are meant, but one of them differs
  // among the runs, it is that.

  /// From now on a row is a group of finished runs that have these fields in common: how many, and of what
  /// was measured the mean and the sample standard deviation. Of a group's runs of one config and seed the
  /// first counts: a repeat says nothing of how far seeds lie apart.
  void group_by(const std::vector<std::string>& fields);
  /// By a column, descending if it begins with '-'; what has no value comes last.
  void sort(const std::string& column);
  /// Shows only these, or all there are for "all"; else those that tell runs apart and what was measured.
  void choose(const std::vector<std::string>& columns);

  /// Fits `width`: what is the same in all rows is said once, below.
  std::string table(size_t width = any_width) const;
  /// RFC 4180: a line of names, a line a row; numbers with all digits.
  std::string csv() const;
  /// A list of objects with the same names and numbers; the row of a repeat says in `repeats` of which run.
  nlohmann::ordered_json json() const;
  /// Which runs are in no group for they are not done, in a line; the table has it. Empty: none.
  const std::string& left_out() const { return left_out_; }
  /// The same of runs that are repeats of others, which in groups do not count.
  const std::string& repeats() const { return repeats_; }

 private:
  struct Cell {
    nlohmann::ordered_json value;
    std::optional<double> deviation;
  };
  struct Row : std::vector<Cell> {
    using std::vector<Cell>::vector;
    nlohmann::ordered_json same;  ///< of a finished run: the stage, and the config but for its name
    std::string repeats;          ///< the first run in whose row that is the same; empty: it is that itself
  };
  struct Column {
    enum class Kind { identity, config, measured } kind;
    std::string name, title;
    FieldPath path;       ///< of a config's field
    bool differs = true;  ///< of a config's field: among the runs
    const struct Measure* measure = nullptr;
  };

  /// Among rows that have these columns in common, too.
  void find_repeats(const std::vector<size_t>& keys);
  void add_config_columns(const std::vector<std::vector<ConfigField>>& configs);
  size_t find(const std::string& what, const std::string& name, bool groupable) const;
  /// The columns of the config's fields that may be called so.
  std::vector<size_t> fields_called(const std::string& name) const;
  std::string paths_of(const std::vector<size_t>& columns) const;
  /// What rows are grouped by. Where several fields may be meant and no row has two values of them, it is a
  /// column of them all: what one run calls pruned.criterion is another's gradual.criterion, and a third's
  /// of each of its stages.
  size_t find_key(const std::string& name);
  std::vector<size_t> shown() const;
  /// The same for a person, who is told in any case whose rows they are, and which runs are not done.
  std::vector<size_t> told() const;
  /// Whether a row is of a run that is not done; groups hold none.
  bool has_unfinished() const;
  /// What CSV and JSON have of a row, by name.
  std::vector<std::pair<std::string, nlohmann::ordered_json>> entries(const Row& row) const;
  /// The places of `columns`, in the order in which they are to have room in a table.
  std::vector<size_t> by_worth(const std::vector<size_t>& columns) const;
  std::string text(const Cell& cell, const Column& column, bool with_deviation) const;
  /// Within a group, by as much as is shown.
  bool varies(size_t column) const;
  /// What all rows have in a column that there is no need to show; empty if it tells rows apart.
  std::string common(size_t column) const;

  std::vector<Column> columns_;
  std::vector<Row> rows_;
  std::optional<std::vector<size_t>> chosen_;
  bool all_stages_, tells_top5_ = true, grouped_ = false;
  std::string averaged_, left_out_, repeats_;
};

}  // namespace espalier
