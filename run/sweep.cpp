#include "espalier/run/sweep.h"

#include <algorithm>
#include <filesystem>

#include "espalier/config/json.h"
#include "espalier/config/overrides.h"
#include "espalier/config/plain_json.h"
#include "espalier/config/schema.h"
#include "espalier/run/config.h"
#include "espalier/run/config_fields.h"
#include "espalier/run/measures.h"
#include "espalier/run/recipes.h"
#include "espalier/util/input_file.h"
#include "espalier/util/mistakes.h"
#include "espalier/util/spelling.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;
using namespace schema;

constexpr size_t most_points = 10'000;
constexpr int64_t most_seeds = 10'000;
constexpr size_t longest_point = 200;  ///< letters of a folder's name

/// What SweepTable is written to, beside the points' folders.
constexpr const char* taken_names[] = {"results.csv", "results.json"};

Type<Json> any_value() {
  return {{"a value", Json::object(), {}, {}, {}, {}},
          [](const Json& json, const Place&) { return json; },
          [](const Json& value) { return value; }};
}

/// A path as --set has it before its '='.
void check_setting(const std::string& path, const Place& at) {
  if (path.empty() || path.find('=') != path.npos)
    (at / path).mistake("found the path \"", printable(path),
                        "\", expected one as --set takes it: stages.dense.train.epochs");
}

template <class T>
void check_no_repeats(const std::vector<T>& values, const Place& at) {
  for (size_t i = 0; i < values.size(); ++i)
    if (std::find(values.begin(), values.end(), values[i]) - values.begin() < static_cast<std::ptrdiff_t>(i))
      (at / i).mistake("found ", in_words(Json(values[i])), ", which stands there before");
}

template <class T>
Type<std::vector<std::pair<std::string, T>>> by_path(const Type<T>& value) {
  auto type = map_of("path", value);
  type.read = [read = type.read](const Json& json, const Place& at) {
    auto values = read(json, at);
    for (const auto& [path, one] : values) check_setting(path, at);
    return values;
  };
  return type;
}

// --- seeds ---

/// As many, from 0, or a list of them.
Type<std::vector<int64_t>> seeds_type() {
  const auto count = whole(1, most_seeds);
  const auto list = list_of(whole(0, (int64_t{1} << 53) - 1), {1, static_cast<size_t>(most_seeds)});
  Description either = count;
  either.expected = join("how many, counted from 0, or ", list.expected);
  either.json_schema = {{"anyOf", {count.json_schema, full_json_schema(list)}}};
  return {either,
          [=](const Json& json, const Place& at) {
            std::vector<int64_t> seeds;
            if (!json.is_number() && !json.is_array()) at.unexpected(json, either.expected);
            if (json.is_array()) {
              seeds = list.read(json, at);
              if (at.is_sound()) check_no_repeats(seeds, at);
              return seeds;
            }
            const int64_t n = count.read(json, at);
            for (int64_t seed = 0; seed < n; ++seed) seeds.push_back(seed);
            return seeds;
          },
          [](const std::vector<int64_t>& seeds) { return seeds.empty() ? Json() : Json(seeds); }};
}

// --- grid ---

const char* const set_is =
    "values of fields by their paths, as --set: {\"stages.dense.train.epochs\": 2}; null takes a field or a "
    "list's element away, and {seed} in a text stands for the seed";

Type<SweepPoint> point_type() {
  return object<SweepPoint>(
      {field("name", &SweepPoint::name, file_name(), "of the point, used once; its row and its folder")
           .required(),
       field("config", &SweepPoint::config, path(), "in the place of the sweep's, for this point"),
       field("set", &SweepPoint::set, by_path(any_value()),
             "the same as the sweep's, for this point; no field twice")});
}

/// The value in a name of letters and digits; nothing where it is long, or has others.
std::string plain_word(const Json& value) {
  constexpr size_t longest = 40;
  std::string word;
  if (value.is_string())
    word = value.get<std::string>();
  else if (value.is_primitive())
    word = value.dump();
  else if (value.is_array())
    for (const Json& each : value) word += (word.empty() ? "" : "-") + (each.is_number() ? each.dump() : "?");
  const bool is_plain = std::ranges::all_of(word, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-' || c == '+';
  });
  return is_plain && word.size() <= longest ? word : "";  // so that a '?' is in none
}

/// What the values of a field are called in the names of points: by what they are, or all by their places.
Names words_for(const std::vector<Json>& values) {
  Names words;
  for (const Json& value : values) words.push_back(plain_word(value));
  bool tell = true;
  for (size_t i = 0; i < words.size(); ++i)
    tell = tell && !words[i].empty() && std::ranges::count(words, words[i]) == 1;
  for (size_t i = 0; i < words.size() && !tell; ++i) words[i] = std::to_string(i + 1);
  return words;
}

/// The keys of a path that is typed with dots or slashes.
FieldPath keys_of(const std::string& path) {
  FieldPath keys{""};
  for (const char c : path.starts_with('/') ? path.substr(1) : path)
    if (c == (path.starts_with('/') ? '/' : '.'))
      keys.emplace_back();
    else
      keys.back() += c;
  if (keys == FieldPath{"type"}) keys.insert(keys.begin(), "config");  // a type has no name by itself
  return keys;
}

/// The shortest names that tell the fields apart.
Names titles_of(const std::vector<std::pair<std::string, std::vector<Json>>>& fields) {
  std::vector<FieldPath> paths;
  for (const auto& [path, values] : fields) paths.push_back(keys_of(path));
  Names titles = short_names(paths, {});
  for (std::string& title : titles)
    std::ranges::replace_if(
        title, [](char c) { return plain_word(std::string(1, c)).empty(); }, '_');
  return titles;
}

std::vector<SweepPoint> combinations(const std::vector<std::pair<std::string, std::vector<Json>>>& fields,
                                     const Place& at) {
  size_t count = 1;
  for (const auto& [path, values] : fields) {
    check_no_repeats(values, at / path);
    count *= values.size();
    if (count > most_points) at.fail("makes more than ", most_points, " points");
  }
  if (!at.is_sound()) return {};
  const Names titles = titles_of(fields);
  std::vector<SweepPoint> points(1);
  for (size_t f = 0; f < fields.size(); ++f) {
    const auto& [path, values] = fields[f];
    const Names words = words_for(values);
    std::vector<SweepPoint> more;
    for (const SweepPoint& point : points)
      for (size_t i = 0; i < values.size(); ++i) {
        more.push_back(point);
        more.back().name += join(f ? "," : "", titles[f], "=", words[i]);
        more.back().set.emplace_back(path, values[i]);
      }
    points = std::move(more);
  }
  for (const SweepPoint& point : points)
    if (point.name.size() > longest_point)
      at.fail("makes names of more than ", longest_point, " letters, as ", printable(point.name, 60),
              "; in a list points have names of their own: [{\"name\": ..., \"set\": {...}}, ...]");
  return points;
}

Type<std::vector<SweepPoint>> grid_type() {
  const auto list = list_of(point_type(), {1, most_points});
  const auto fields = by_path(list_of(any_value(), {.from = 1}));
  Description either = list;
  either.expected =
      "a list of points, or an object that gives each path a list of values, of which all combinations are a "
      "point";
  either.json_schema = {{"anyOf", {full_json_schema(list), full_json_schema(fields)}}};
  return {either,
          [=](const Json& json, const Place& at) {
            if (json.is_array()) return list.read(json, at);
            if (!json.is_object() || json.empty()) at.unexpected(json, either.expected);
            const auto values = fields.read(json, at);
            return at.is_sound() ? combinations(values, at) : std::vector<SweepPoint>();
          },
          [](const std::vector<SweepPoint>&) { return Json(); }};  // of a sweep nothing is written
}

// --- report ---

Type<std::vector<SweepColumn>> report_type() {
  Names names;
  for (const Measure& measure : reported_measures()) names.push_back(measure.name);
  const std::string expected = join("one of ", enumerated(names), " or STAGE.NAME");
  const Type<SweepColumn> column = {
      {expected, {{"type", "string"}}, {}, {}, {}, {}},
      [=](const Json& json, const Place& at) {
        if (!json.is_string()) at.unexpected(json, expected);
        const std::string given = json;
        const size_t dot = given.rfind('.');
        const bool of_stage = dot != given.npos && dot > 0;
        SweepColumn found{of_stage ? given.substr(0, dot) : "", given.substr(of_stage ? dot + 1 : 0)};
        if (!measure_named(found.measure)) at.unexpected(json, expected, did_you_mean(found.measure, names));
        return found;
      },
      [](const SweepColumn& one) { return Json((one.stage.empty() ? "" : one.stage + ".") + one.measure); }};
  auto type = list_of(column, {.from = 1});
  type.write = [write = type.write](const std::vector<SweepColumn>& columns) {
    return columns.empty() ? Json() : write(columns);
  };
  return type;
}

// --- the sweep ---

void check_points(const Sweep& sweep, const Place& at) {
  const auto lacks = [](const SweepPoint& point) { return !point.config; };
  if (!sweep.config && (sweep.points.empty() || std::ranges::any_of(sweep.points, lacks)))
    (at / "config")
        .mistake("missing, expected the config that is run",
                 sweep.points.empty() ? "" : "; without it each point needs one");
  for (size_t i = 0; i < sweep.points.size(); ++i) {
    const std::string& name = sweep.points[i].name;
    const Place named = at / "grid" / i / "name";
    if (std::ranges::find(taken_names, name) != std::end(taken_names))
      named.mistake("found \"", name, "\", which is the name of a file beside the points' folders");
    for (size_t j = 0; j < i; ++j)
      if (sweep.points[j].name == name)
        named.mistake("\"", name, "\" is the name of ", (at / "grid" / j).shown(), ", too");
  }
}

const Type<Sweep>& sweep_type() {
  static const Type<Sweep> type = object<Sweep>(
      {field("name", &Sweep::name, file_name(),
             "of the sweep, whose runs go to runs/NAME/POINT/seedN; without it, the file's name"),
       field(
           "config", &Sweep::config, path(),
           "the config that is run: a path relative to this file (paths in the config itself are relative to "
           "the working directory, as always), or a recipe's name"),
       field("seeds", &Sweep::seeds, seeds_type(),
             "of each point's runs: [1, 2, 3], or 3, which is [0, 1, 2]")
           .required(),
       field("set", &Sweep::set, by_path(any_value()), set_is),
       field("grid", &Sweep::points, grid_type(),
             "points, each a row of the table: with names of their own, or all combinations of "
             "{\"stages.pruned.prune.sparsity\": [0.8, 0.9], ...}; without it, the config by itself"),
       field(
           "report", &Sweep::report, report_type(),
           "columns of the table, of the last stage unless another is named: [\"error\", \"dense.error\"]")},
      {.check = check_points});
  return type;
}

/// The texts of `value` with the seed.
Json with_seed(const Json& value, int64_t seed) {
  Json with = value;
  if (value.is_string()) {
    constexpr std::string_view mark = "{seed}";
    std::string text = value;
    const std::string number = std::to_string(seed);
    for (size_t at = 0; (at = text.find(mark, at)) != text.npos; at += number.size())
      text.replace(at, mark.size(), number);
    with = text;
  } else if (value.is_structured()) {
    for (Json& inner : with) inner = with_seed(inner, seed);
  }
  return with;
}

}  // namespace

Sweep parse_sweep(const std::string& text, const std::string& file) {
  Json json;
  try {
    json = parse_json(plain_json(text, file), file);
  } catch (const Error& error) {
    fail_usage(error.what());
  }
  if (json.is_object()) {
    json.erase("$schema");
    if (!json.contains("name")) json["name"] = fs::path(file).stem().string();
  }
  Mistakes mistakes;
  const Place place(file, {}, &mistakes);
  Sweep sweep;
  place.attempt([&] { sweep = sweep_type().read(json, place); });
  mistakes.report(file);
  sweep.file = file;
  if (sweep.points.empty()) sweep.points.push_back({.name = fs::path(*sweep.config).stem().string()});
  return sweep;
}

Sweep load_sweep(const std::string& file) {
  std::string text;
  try {
    text = read_file(file);
  } catch (const Error& error) {
    fail_usage(error.what());
  }
  return parse_sweep(text, file);
}

std::vector<SweepColumn> default_report() {
  std::vector<SweepColumn> columns;
  for (const char* measure :
       {"accuracy", "best_accuracy", "sparsity", "nonzeros", "parameters", "macs", "seconds"})
    columns.push_back({"", measure});
  return columns;
}

std::string config_of(const Sweep& sweep, const SweepPoint& point) {
  return find_config(point.config ? *point.config : sweep.config.value(), fs::path(sweep.file).parent_path());
}

std::vector<std::string> overrides_of(const Sweep& sweep, const SweepPoint& point, int64_t seed) {
  std::vector<std::string> overrides;
  for (const Settings* settings : {&sweep.set, &point.set})
    for (const auto& [path, value] : *settings)
      overrides.push_back(path + "=" + with_seed(value, seed).dump());
  overrides.push_back(join("seed=", seed));
  return overrides;
}

bool mentions_seed(const Sweep& sweep, const SweepPoint& point) {
  const auto mentions = [](const auto& setting) { return with_seed(setting.second, 0) != setting.second; };
  return std::ranges::any_of(sweep.set, mentions) || std::ranges::any_of(point.set, mentions);
}

void check_settings(const Sweep& sweep, const SweepPoint& point, const std::string& config) {
  struct Setting {
    std::string path, pointer;
    bool is_points;
  };
  std::vector<Setting> before;
  Mistakes mistakes;
  const auto compare = [&](const Setting& one, const Setting& other, bool takes_away) {
    const bool inside = lies_in(one.pointer, other.pointer), outside = lies_in(other.pointer, one.pointer);
    if (inside && outside && one.path == other.path)
      fail_usage("'", printable(one.path),
                 "' is set by the sweep and by the point, expected one value for it");
    if (inside && outside)
      fail_usage("'", printable(one.path), "' and '", printable(other.path),
                 "' are the same field, expected one value for it");
    if (inside && takes_away && !one.is_points && other.is_points) return;
    if (inside || outside)
      fail_usage("'", printable(one.path), "' and '", printable(other.path),
                 "' are both set, and the one lies in the other");
  };
  Overrides applied;
  try {
    Json root = parse_json(plain_json(read_file(config), config), config);
    for (const Settings* settings : {&sweep.set, &point.set}) {
      for (const auto& [path, value] : *settings) {
        // What is taken away stays here, so that all that follows has the places that it has in the file.
        const bool takes_away = value.is_null();
        applied.given.push_back(path + "=" + (takes_away ? "0" : value.dump()));
        Json changed = root;
        apply_override(changed, config_description(), applied.given.size() - 1, applied);
        if (!takes_away) root = std::move(changed);
        const Setting setting{path, applied.set.back().pointer(), settings == &point.set};
        mistakes.attempt("", [&] {
          if (setting.pointer == "/seed")
            fail_usage("'", printable(setting.path),
                       "' is what the sweep's seeds say, expected no other value for it");
        });
        for (const Setting& other : before)
          mistakes.attempt("", [&] { compare(other, setting, takes_away); });
        before.push_back(setting);
      }
    }
  } catch (const Error&) {  // load_config says it
  }
  mistakes.report(config);
}

const schema::Description& sweep_description() { return sweep_type(); }

}  // namespace espalier
