#include "espalier/run/comparison.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <string_view>

#include "espalier/run/measures.h"
#include "espalier/train/evaluate.h"
#include "espalier/util/csv.h"
#include "espalier/util/error.h"
#include "espalier/util/spelling.h"
#include "espalier/util/table.h"
#include "espalier/util/utf8.h"

namespace espalier {

using Json = nlohmann::ordered_json;

namespace {

/// Results that a narrow terminal drops after all others, fields of the config among them: the last first. It
/// drops measures() from the last on.
constexpr std::string_view results_first[] = {"accuracy", "macs", "latency_ms", "bytes"};

/// A text or a number of a config or a run, short and printable.
std::string value_text(const Json& value) {
  constexpr size_t max_bytes = 100;
  return printable(value.is_string() ? value.get<std::string>() : value.dump(), max_bytes);
}

/// Numbers by size, then texts; nothing comes last.
bool before(const Json& a, const Json& b) {
  const auto rank = [](const Json& x) { return x.is_null() ? 2 : x.is_number() ? 0 : 1; };
  if (rank(a) != rank(b)) return rank(a) < rank(b);
  if (a.is_number()) return a.get<double>() < b.get<double>();
  return value_text(a) < value_text(b);
}

const Json& value_at(const std::vector<ConfigField>& fields, const FieldPath& path) {
  static const Json none;
  const auto found = std::ranges::find(fields, path, &ConfigField::path);
  return found == fields.end() ? none : found->value;
}

/// How long all stages took: a row for the entire run shows that, not its last stage's.
double total_seconds(const RunSummary& run) {
  double seconds = 0;
  for (const StageSummary& stage : run.stages) seconds += stage.measured.value("seconds", 0.0);
  return seconds;
}

}  // namespace

Comparison::Comparison(const std::vector<RunSummary>& runs, bool all_stages) : all_stages_(all_stages) {
  std::vector<std::vector<ConfigField>> configs;
  for (const RunSummary& run : runs) {
    configs.push_back(config_fields(run.config));
    for (const auto& [name, value] : run.made_by.items()) configs.back().push_back({{name}, value});
  }
  tells_top5_ = std::ranges::any_of(configs, [](const auto& fields) {
    const Json& classes = value_at(fields, {"model", "classes"});
    return !classes.is_number() || tells_top5(classes.get<int64_t>());
  });
  using enum Column::Kind;
  const auto add_identity = [&](const char* name) { columns_.push_back({identity, name, name, {}}); };
  add_identity("run");
  add_config_columns(configs);
  for (const char* name : {"state", "stage", "epoch"}) add_identity(name);
  for (const Measure& measure : measures())
    columns_.push_back({measured, measure.name, measure.title, {}, true, &measure});

  for (size_t i = 0; i < runs.size(); ++i) {
    const RunSummary& run = runs[i];
    static const std::vector<StageSummary> not_begun(1);
    auto stages = run.stages.empty() ? not_begun : run.stages;
    if (!all_stages && run.done) stages.back().measured["seconds"] = total_seconds(run);
    for (size_t s = all_stages ? 0 : stages.size() - 1; s < stages.size(); ++s) {
      Row row;
      for (const Column& column : columns_) {
        Cell cell;
        if (column.kind == config)
          cell.value = value_at(configs[i], column.path);
        else if (column.measure && stages[s].measured.contains(column.name))
          cell.value = stages[s].measured[column.name];
        else if (column.name == "run")
          cell.value = run.folder;
        else if (column.name == "state")
          cell.value = run.state();
        else if (column.name == "stage" && !stages[s].stage.empty())
          cell.value = stages[s].stage;
        else if (column.name == "epoch" && stages[s].epoch)
          cell.value = *stages[s].epoch;
        row.push_back(std::move(cell));
      }
      if (run.done && run.config.contains("model") && !stages[s].stage.empty()) {
        Json same = run.config;
        same.erase("name");
        row.same = Json::array({stages[s].stage, std::move(same)});
      }
      rows_.push_back(std::move(row));
    }
  }
  find_repeats({});
}

void Comparison::find_repeats(const std::vector<size_t>& keys) {
  const auto repeats = [&](const Row& row, const Row& first) {
    return row.same == first.same &&
           std::ranges::all_of(keys, [&](size_t c) { return row[c].value == first[c].value; });
  };
  std::vector<const Row*> firsts;
  std::vector<std::string> found;
  for (Row& row : rows_) {
    row.repeats.clear();
    if (row.same.is_null()) continue;
    const auto first = std::ranges::find_if(firsts, [&](const Row* other) { return repeats(row, *other); });
    if (first == firsts.end()) {
      firsts.push_back(&row);
      continue;
    }
    row.repeats = (**first)[0].value.get<std::string>();
    const std::string line = value_text(row[0].value) + " of " + printable(row.repeats);
    if (std::ranges::find(found, line) == found.end()) found.push_back(line);
  }
  repeats_ =
      found.empty() ? "" : fmt::format("the same config and seed once more: {}", fmt::join(found, ", "));
}

/// Those that differ by their short names, the others by their paths.
void Comparison::add_config_columns(const std::vector<std::vector<ConfigField>>& configs) {
  std::vector<FieldPath> all, differing;
  std::set<FieldPath> seen;
  for (const auto& fields : configs)
    for (const ConfigField& field : fields)
      if (seen.insert(field.path).second) all.push_back(field.path);
  // Of a run whose folder lacks its config no more is known than it says.
  const auto is_whole = [](const auto& fields) { return !value_at(fields, {"model", "type"}).is_null(); };
  // Nor does a run differ in each field of a stage that it has not.
  const auto lacks_stage = [](const auto& fields, const FieldPath& path) {
    return path[0] == "stages" && std::ranges::none_of(fields, [&](const ConfigField& field) {
             return field.path[0] == "stages" && field.path[1] == path[1];
           });
  };
  // An unfinished run does not say it.
  const auto is_made_by = [](const FieldPath& path) {
    return path.size() == 1 && (path[0] == "threads" || path[0] == "version" || path[0] == "commit");
  };
  const auto differs = [&](const FieldPath& path) {
    std::optional<Json> first;
    return std::ranges::any_of(configs, [&](const auto& fields) {
      const Json& value = value_at(fields, path);
      if (value.is_null() && (!is_whole(fields) || lacks_stage(fields, path) || is_made_by(path)))
        return false;
      if (!first) first = value;
      return value != *first;
    });
  };
  std::ranges::copy_if(all, std::back_inserter(differing), differs);
  std::vector<std::string> taken{"run", "state", "stage", "epoch", "n"};
  for (const Measure& measure : measures()) {
    taken.push_back(measure.name);
    if (measure.title != taken.back()) taken.push_back(measure.title);
  }
  const auto names = short_names(differing, taken);
  for (const FieldPath& path : all) {
    const auto at = std::ranges::find(differing, path) - differing.begin();
    const bool differs_here = static_cast<size_t>(at) < differing.size();
    const std::string name = differs_here ? names[static_cast<size_t>(at)] : dotted(path);
    columns_.push_back({Column::Kind::config, name, printable(name, 40), path, differs_here});
  }
}

std::vector<size_t> Comparison::fields_called(const std::string& name) const {
  std::vector<size_t> called;
  for (size_t c = 0; c < columns_.size(); ++c) {
    const auto names = spellings(columns_[c].path);
    if (std::ranges::find(names, name) != names.end()) called.push_back(c);
  }
  return called;
}

std::string Comparison::paths_of(const std::vector<size_t>& columns) const {
  std::vector<std::string> paths;
  for (const size_t c : columns) paths.push_back(printable(dotted(columns_[c].path)));
  return fmt::format("{}", fmt::join(paths, " or "));
}

size_t Comparison::find_key(const std::string& name) {
  const std::vector<size_t> called = fields_called(name);
  const auto differs = [&](size_t c) { return columns_[c].differs; };
  if (called.size() < 2) return find("--group-by", name, true);
  std::vector<Json> own;           // what each row has, of whichever fields
  std::vector<std::string> split;  // runs whose stages do not agree
  for (const Row& row : rows_) {
    std::set<Json> values;
    for (const size_t c : called)
      if (!row[c].value.is_null()) values.insert(row[c].value);
    own.push_back(values.empty() ? Json() : *values.begin());
    const std::string run = value_text(row[0].value);
    if (values.size() > 1 && (split.empty() || split.back() != run)) split.push_back(run);
  }
  if (!split.empty() && std::ranges::count_if(called, differs) == 1) return find("--group-by", name, true);
  if (!split.empty())
    fail_usage("compare: --group-by: '", printable(name), "' may mean ", paths_of(called),
               ", which are not the same in ", fmt::format("{}", fmt::join(split, ", ")));
  for (const size_t c : called) columns_[c].differs = false;  // the new column tells it
  columns_.push_back({Column::Kind::config, name, printable(name, 40), {name}, true});
  for (size_t i = 0; i < rows_.size(); ++i) rows_[i].push_back({own[i], {}});
  return columns_.size() - 1;
}

size_t Comparison::find(const std::string& what, const std::string& name, bool groupable) const {
  std::vector<std::string> known;
  std::vector<size_t> meant, differing;
  for (size_t c = 0; c < columns_.size(); ++c) {
    const Column& column = columns_[c];
    const bool groups = column.kind == Column::Kind::config || column.name == "stage";
    if (groupable && !groups) continue;
    if (name == column.name || name == column.title) return c;
    known.push_back(column.name);
    const auto names = spellings(column.path);
    known.insert(known.end(), names.begin(), names.end());
    if (std::ranges::find(names, name) == names.end()) continue;
    meant.push_back(c);
    if (column.differs) differing.push_back(c);
  }
  if (meant.empty()) {  // "type" says nothing without what it is of
    std::vector<size_t> ends;
    for (size_t c = 0; c < columns_.size(); ++c)
      if (columns_[c].kind == Column::Kind::config && columns_[c].path.back() == name) ends.push_back(c);
    if (!ends.empty()) fail_usage("compare: ", what, ": '", printable(name), "' may mean ", paths_of(ends));
  }
  if (meant.empty())
    fail_usage("compare: ", what, ": ",
               groupable ? "the configs of these runs have no field '" : "there is no column '",
               printable(name), "'", did_you_mean(name, known));
  if (meant.size() == 1) return meant.front();
  if (differing.size() == 1) return differing.front();
  fail_usage("compare: ", what, ": '", printable(name), "' may mean ", paths_of(meant));
}

void Comparison::group_by(const std::vector<std::string>& fields) {
  std::vector<size_t> keys;
  for (const std::string& field : fields) {
    const size_t c = find_key(field);
    if (std::ranges::find(keys, c) != keys.end()) continue;
    keys.push_back(c);
    if (Column& column = columns_[c]; !column.differs) column.name = column.title = field;  // else its path
  }
  const size_t state = find("", "state", false), stage = find("", "stage", false);
  if (all_stages_ && std::ranges::find(keys, stage) == keys.end()) keys.push_back(stage);
  find_repeats(keys);

  struct Group {
    std::vector<Json> key;
    std::vector<const Row*> rows;
  };
  std::vector<Group> groups;
  std::vector<std::string> unfinished;
  for (const Row& row : rows_) {
    const std::string run = value_text(row[0].value);
    if (row[state].value != "done") {
      const std::string line = row[state].value == "diverged" ? run + " (diverged)" : run;
      if (unfinished.empty() || unfinished.back() != line) unfinished.push_back(line);
      continue;
    }
    if (!row.repeats.empty()) continue;
    std::vector<Json> key;
    for (const size_t c : keys) key.push_back(row[c].value);
    auto group = std::ranges::find(groups, key, &Group::key);
    if (group == groups.end()) group = groups.insert(groups.end(), {key, {}});
    group->rows.push_back(&row);
  }
  if (groups.empty()) fail_usage("compare: --group-by: none of these runs is done");
  std::ranges::stable_sort(groups, [](const Group& a, const Group& b) {
    return std::ranges::lexicographical_compare(a.key, b.key, before);
  });

  std::vector<std::string> averaged;  // fields that differ within a group
  for (size_t c = 0; c < columns_.size(); ++c)
    if (columns_[c].kind == Column::Kind::config && columns_[c].differs &&
        std::ranges::any_of(groups, [&](const Group& group) {
          return std::ranges::any_of(
              group.rows, [&](const Row* row) { return (*row)[c].value != (*group.rows[0])[c].value; });
        }))
      averaged.push_back(columns_[c].title);
  const bool several = std::ranges::any_of(groups, [](const Group& group) { return group.rows.size() > 1; });
  if (several)
    averaged_ = fmt::format("mean +- sample standard deviation of n runs{}{}",
                            averaged.empty() ? "" : " over ", fmt::join(averaged, ", "));
  if (!unfinished.empty())
    left_out_ = fmt::format("unfinished, in no group: {}", fmt::join(unfinished, ", "));

  std::vector<Column> columns;
  for (const size_t c : keys) columns.push_back(columns_[c]);
  columns.push_back({Column::Kind::identity, "n", "n", {}});
  std::ranges::copy_if(columns_, std::back_inserter(columns), [](const Column& c) { return c.measure; });
  std::vector<Row> rows;
  for (const Group& group : groups) {
    Row row;
    for (const Json& value : group.key) row.push_back({value, {}});
    row.push_back({group.rows.size(), {}});
    for (size_t c = 0; c < columns_.size(); ++c) {
      if (!columns_[c].measure) continue;
      std::vector<double> values;
      for (const Row* one : group.rows)
        if (const Json& value = (*one)[c].value; value.is_number()) values.push_back(value.get<double>());
      row.push_back({});
      if (values.empty()) continue;
      const Spread spread = spread_of(values);
      row.back() = {spread.mean, spread.deviation};
    }
    rows.push_back(std::move(row));
  }
  columns_ = std::move(columns);
  rows_ = std::move(rows);
  grouped_ = true;
  if (!repeats_.empty()) repeats_ += "; of each the first counts";
}

void Comparison::sort(const std::string& column) {
  const bool descending = column.starts_with('-');
  const size_t c = find("--sort", descending ? column.substr(1) : column, false);
  std::ranges::stable_sort(rows_, [&](const Row& a, const Row& b) {
    const Json &first = a[c].value, &second = b[c].value;
    if (first.is_null() || second.is_null()) return !first.is_null() && second.is_null();
    return descending ? before(second, first) : before(first, second);
  });
}

void Comparison::choose(const std::vector<std::string>& names) {
  chosen_.emplace();
  for (const std::string& name : names) {
    if (name == "all")
      for (size_t c = 0; c < columns_.size(); ++c) chosen_->push_back(c);
    else
      chosen_->push_back(find("--columns", name, false));
  }
}

std::vector<size_t> Comparison::shown() const {
  if (chosen_) return *chosen_;
  std::vector<size_t> shown;
  for (size_t c = 0; c < columns_.size(); ++c) {
    const Column& column = columns_[c];  // that runs have other names is said by their folders
    const bool tells =
        column.kind != Column::Kind::config || grouped_ || (column.differs && column.name != "name");
    if (tells) shown.push_back(c);
  }
  return shown;
}

bool Comparison::has_unfinished() const {
  if (grouped_) return false;
  const size_t state = find("", "state", false);
  return std::ranges::any_of(rows_, [&](const Row& row) { return row[state].value != "done"; });
}

std::vector<size_t> Comparison::told() const {
  std::vector<size_t> told, columns = shown();
  const bool unfinished = has_unfinished();
  const auto is_chosen = [&](size_t c) { return std::ranges::find(columns, c) != columns.end(); };
  for (size_t c = 0; c < columns_.size(); ++c) {
    const Column& column = columns_[c];
    const bool tells = grouped_ ? column.kind == Column::Kind::config
                                : column.name == "run" || (column.name == "state" && unfinished);
    if (tells && !is_chosen(c)) told.push_back(c);
  }
  told.insert(told.end(), columns.begin(), columns.end());
  return told;
}

std::string Comparison::text(const Cell& cell, const Column& column, bool with_deviation) const {
  if (cell.value.is_null()) return column.kind == Column::Kind::config ? "-" : "";
  if (!column.measure) return value_text(cell.value);
  const Measure& measure = *column.measure;
  std::string text = measure.text(cell.value.get<double>());
  if (with_deviation && cell.deviation) text += " +- " + measure.text(*cell.deviation);
  return text.empty() ? "" : text + measure.unit;
}

bool Comparison::varies(size_t c) const {
  const Measure* measure = columns_[c].measure;
  return measure && std::ranges::any_of(rows_, [&](const Row& row) {
           return row[c].deviation && measure->text(*row[c].deviation) != measure->text(0);
         });
}

std::string Comparison::common(size_t c) const {
  const Column& column = columns_[c];
  const bool always = column.name == "run" || column.name == "n" || column.name == "accuracy";
  if (rows_.size() < 2 || always || varies(c)) return "";
  std::optional<std::string> same;
  const size_t state = has_unfinished() ? find("", "state", false) : 0;
  for (const Row& row : rows_) {
    const bool unfinished = has_unfinished() && row[state].value != "done";
    if (unfinished && column.measure && row[c].value.is_null()) continue;  // not there yet
    const std::string value = text(row[c], column, false);
    if (same.value_or(value) != value) return "";
    same = value;
  }
  return same.value_or("");
}

std::vector<size_t> Comparison::by_worth(const std::vector<size_t>& columns) const {
  const auto value = [](const Row& row, size_t c) { return row[c].value; };
  const size_t all = find("", "parameters", false), left = find("", "nonzeros", false);
  const bool none_is_zero =
      std::ranges::all_of(rows_, [&](const Row& row) { return value(row, left) == value(row, all); });
  const auto rank = [&](size_t place) {
    const Column& column = columns_[columns[place]];
    if (!column.measure && (grouped_ || column.kind == Column::Kind::identity)) return 0;
    const auto result = std::ranges::find(results_first, column.name);
    if (result != std::end(results_first)) return 1 + static_cast<int>(result - std::begin(results_first));
    if (column.name == "nonzeros" && none_is_zero) return 100;
    return 10;  // fields of the config, and after them what else was measured
  };
  std::vector<size_t> places(columns.size());
  std::iota(places.begin(), places.end(), size_t{0});
  std::ranges::stable_sort(places, {}, rank);
  return places;
}

std::string Comparison::table(size_t width) const {
  std::vector<std::string> titles, same;
  std::vector<size_t> columns;
  for (const size_t c : told()) {
    const Column& column = columns_[c];
    if (!chosen_ && column.name == "top5" && !tells_top5_) continue;
    if (const std::string value = chosen_ ? "" : common(c); !value.empty()) {
      const bool says = value != "done" && !(column.name == "latency_speedup" && value == "1.00x");
      if (says) same.push_back(column.title + " " + value);
      continue;
    }
    const bool number = column.measure || std::ranges::all_of(rows_, [&](const Row& row) {
                          return row[c].value.is_number() || row[c].value.is_null();
                        });
    columns.push_back(c);
    titles.push_back((number ? "" : "<") + column.title);
  }
  Table table(titles);
  table.keep(by_worth(columns));
  for (const Row& row : rows_) {
    std::vector<std::string> cells;
    for (const size_t c : columns) cells.push_back(text(row[c], columns_[c], varies(c)));
    table.add(std::move(cells));
  }
  std::string lines = table.str(width);
  const bool narrow = lines.find("\nno room for: ") != lines.npos;
  if (!same.empty())
    lines += wrapped(
        fmt::format("the same in all{}: {}", has_unfinished() ? " that are done" : "", fmt::join(same, ", ")),
        width);
  if (narrow || !same.empty())
    lines += wrapped("`--columns all` or NAME,NAME,... shows others, with `--csv` and `--json`, too", width);
  for (const std::string& note : {averaged_, repeats_, left_out_})
    if (!note.empty()) lines += wrapped(note, width);
  return lines;
}

std::vector<std::pair<std::string, Json>> Comparison::entries(const Row& row) const {
  std::vector<std::pair<std::string, Json>> entries;
  for (const size_t c : shown()) {
    const bool mean = grouped_ && columns_[c].measure;
    entries.emplace_back(columns_[c].name + (mean ? "_mean" : ""), row[c].value);
    if (!mean) continue;
    entries.emplace_back(columns_[c].name + "_deviation",
                         row[c].deviation ? Json(*row[c].deviation) : Json());
  }
  return entries;
}

Json Comparison::json() const {
  Json list = Json::array();
  for (const Row& row : rows_) {
    list.push_back(Json::object());
    for (const auto& [name, value] : entries(row)) list.back()[name] = value;
    if (!row.repeats.empty()) list.back()["repeats"] = row.repeats;
  }
  return list;
}

std::string Comparison::csv() const {
  const auto line = [&](const Row& row, bool names) {
    std::vector<std::string> fields;
    for (const auto& [name, value] : entries(row)) {
      if (names)
        fields.push_back(printable(name));
      else if (value.is_string())
        fields.push_back(printable(value.get<std::string>()));
      else
        fields.push_back(value.is_null() ? "" : value.dump());
    }
    return csv_line(fields);
  };
  std::string lines = line(Row(columns_.size()), true);
  for (const Row& row : rows_) lines += line(row, false);
  return lines;
}

}  // namespace espalier
