#include "espalier/run/sweep_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "espalier/util/atomic_file.h"
#include "espalier/util/csv.h"
#include "espalier/util/table.h"
#include "espalier/util/utf8.h"

namespace espalier {

using Json = nlohmann::ordered_json;

namespace {

std::string name_of_column(const SweepColumn& column) {
  return (column.stage.empty() ? "" : column.stage + ".") + column.measure;
}

/// What a run has in a column; null: nothing.
Json number_in(const SweptRun& run, const SweepColumn& column) {
  if (run.stages.empty()) return {};
  if (column.stage.empty() && column.measure == "seconds") return seconds_of(run);
  const auto stage = column.stage.empty() ? run.stages.end() - 1
                                          : std::ranges::find(run.stages, column.stage, &StageSummary::stage);
  if (stage == run.stages.end()) return {};
  const auto measured = [&](const std::string& name) { return stage->measured.value(name, Json()); };
  const std::string error = "error";
  if (!column.measure.ends_with(error)) return measured(column.measure);
  const std::string before = column.measure.substr(0, column.measure.size() - error.size());  // "", "best_"
  const Json accuracy = measured(before + "accuracy");
  return accuracy.is_number() ? Json(100 - accuracy.get<double>()) : Json();
}

/// Names of points and stages hold no '|'.
std::string markdown_row(const std::vector<std::string>& texts) {
  std::string row = "|";
  for (const std::string& text : texts) row += " " + text + " |";
  return row + "\n";
}

}  // namespace

std::string SweptRun::label() const { return PlannedRun{.point = point, .seed = seed}.label(); }

double seconds_of(const SweptRun& run) {
  double seconds = 0;
  for (const StageSummary& stage : run.stages) seconds += stage.measured.value("seconds", 0.0);
  return seconds;
}

SweptRun swept(const PlannedRun& run, const std::string& failure) {
  SweptRun swept{.point = run.point, .seed = run.seed, .folder = run.folder.string(), .missing = failure};
  if (!failure.empty()) return swept;
  const RunSummary summary = summary_of(swept.folder);
  if (summary.done) {
    swept.stages = summary.stages;
    swept.made_by = summary.made_by;
  } else {
    swept.missing = "has no result.json";
  }
  return swept;
}

SweepTable::SweepTable(const Sweep& sweep, std::vector<SweptRun> runs)
    : sweep_(sweep), runs_(std::move(runs)) {}

Spread SweepTable::spread(const SweepPoint& point, const SweepColumn& column) const {
  std::vector<double> values;
  for (const SweptRun& run : runs_) {
    if (run.point != point.name) continue;
    if (const Json number = number_in(run, column); number.is_number())
      values.push_back(number.get<double>());
  }
  return spread_of(values);
}

SweepTable::Texts SweepTable::texts() const {
  Texts texts{{"point"}, {}};
  for (const SweepPoint& point : sweep_.points) texts.rows.push_back({printable(point.name)});
  for (const SweepColumn& column : sweep_.report.empty() ? default_report() : sweep_.report) {
    const Measure& measure = *measure_named(column.measure);
    std::vector<Spread> spreads;
    for (const SweepPoint& point : sweep_.points) spreads.push_back(spread(point, column));
    const auto none = [](const Spread& spread) { return spread.n == 0; };
    if (sweep_.report.empty() && std::ranges::all_of(spreads, none)) continue;  // nobody asked for it
    const bool varies = std::ranges::any_of(spreads, [&](const Spread& spread) {
      return spread.deviation && measure.text(*spread.deviation) != measure.text(0);
    });
    texts.titles.push_back((column.stage.empty() ? "" : printable(column.stage) + " ") + measure.title);
    for (size_t i = 0; i < spreads.size(); ++i) {
      const Spread& of = spreads[i];
      texts.rows[i].push_back(
          none(of) ? "-"
                   : fmt::format("{}{}{} ({})", measure.text(of.mean),
                                 varies && of.deviation ? " ± " + measure.text(*of.deviation) : "",
                                 measure.unit, of.n));
    }
  }
  return texts;
}

std::vector<std::string> SweepTable::notes() const {
  std::vector<std::string> notes{"mean ± sample standard deviation (number of seeds)"}, missing;
  for (const SweptRun& run : runs_)
    if (!run.missing.empty()) missing.push_back(fmt::format("{} ({})", run.label(), run.missing));
  if (!missing.empty()) notes.push_back(fmt::format("missing: {}", fmt::join(missing, "; ")));
  return notes;
}

std::string SweepTable::table(size_t width) const {
  Texts found = texts();
  found.titles.front().insert(0, "<");
  Table table(found.titles);
  for (auto& row : found.rows) table.add(std::move(row));
  std::string text = table.str(width);
  for (const std::string& note : notes()) text += wrapped(note, width);
  return text;
}

std::string SweepTable::markdown() const {
  const Texts found = texts();
  std::string text = markdown_row(found.titles) + "|";
  for (size_t i = 0; i < found.titles.size(); ++i) text += "---|";
  text += "\n";
  for (const auto& row : found.rows) text += markdown_row(row);
  for (const std::string& note : notes()) text += "\n" + note + "\n";
  return text;
}

std::vector<SweepColumn> SweepTable::all_columns() const {
  std::vector<std::string> stages{""};  // the last of each
  for (const SweptRun& run : runs_)
    for (const StageSummary& stage : run.stages)
      if (std::ranges::find(stages, stage.stage) == stages.end()) stages.push_back(stage.stage);
  std::vector<SweepColumn> columns;
  for (const std::string& stage : stages)
    for (const Measure& measure : reported_measures()) {
      const SweepColumn column{stage, measure.name};
      const auto has = [&](const SweptRun& run) { return !number_in(run, column).is_null(); };
      if (std::ranges::any_of(runs_, has)) columns.push_back(column);
    }
  return columns;
}

std::string SweepTable::csv() const {
  const std::vector<SweepColumn> columns = all_columns();
  const char* const made_by[] = {"threads", "version", "commit"};
  std::vector<std::string> names{"point", "seed", "folder", "state"};
  names.insert(names.end(), std::begin(made_by), std::end(made_by));
  for (const SweepColumn& column : columns) names.push_back(name_of_column(column));
  std::string lines = csv_line(names);
  for (const SweptRun& run : runs_) {
    std::vector<std::string> fields{run.point, std::to_string(run.seed), run.folder,
                                    run.missing.empty() ? "done" : "failed"};
    const auto add = [&](const Json& value) {
      fields.push_back(value.is_null() ? "" : value.is_string() ? value.get<std::string>() : value.dump());
    };
    for (const char* name : made_by) add(run.made_by.is_object() ? run.made_by.value(name, Json()) : Json());
    for (const SweepColumn& column : columns) add(number_in(run, column));
    for (std::string& field : fields) field = printable(field, field.size());
    lines += csv_line(fields);
  }
  return lines;
}

Json SweepTable::json() const {
  Json json = {
      {"name", sweep_.name}, {"seeds", sweep_.seeds}, {"points", Json::array()}, {"runs", Json::array()}};
  const std::vector<SweepColumn> columns = all_columns();
  for (const SweepPoint& point : sweep_.points) {
    Json row = {{"name", point.name}};
    const auto& config = point.config ? point.config : sweep_.config;
    if (config) row["config"] = *config;
    row["set"] = Json::object();
    for (const Settings* settings : {&sweep_.set, &point.set})
      for (const auto& [path, value] : *settings) row["set"][path] = value;
    row["measured"] = Json::object();
    for (const SweepColumn& column : columns) {
      const Spread of = spread(point, column);
      if (of.n == 0) continue;
      row["measured"][name_of_column(column)] = {
          {"mean", of.mean}, {"deviation", of.deviation ? Json(*of.deviation) : Json()}, {"n", of.n}};
    }
    json["points"].push_back(std::move(row));
  }
  for (const SweptRun& run : runs_) {
    Json row = {{"point", run.point},
                {"seed", run.seed},
                {"folder", run.folder},
                {"state", run.missing.empty() ? "done" : "failed"}};
    if (!run.missing.empty()) row["failure"] = run.missing;
    if (run.made_by.is_object()) row.update(run.made_by);
    row["stages"] = Json::array();
    for (const StageSummary& stage : run.stages) {
      row["stages"].push_back({{"stage", stage.stage}});
      row["stages"].back().update(stage.measured);
    }
    json["runs"].push_back(std::move(row));
  }
  return json;
}

void SweepTable::write(const std::filesystem::path& folder) const {
  constexpr bool ascii = true;
  write_file(folder / "results.csv", csv());
  write_file(folder / "results.json", json().dump(2, ' ', ascii, Json::error_handler_t::replace) + "\n");
}

}  // namespace espalier
