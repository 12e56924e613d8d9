// A sweep: a config at several points, each a set of values for its fields, and with several seeds. What a
// person writes in JSON, as structs; each field is declared once, in sweep.cpp, as those of the config are.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace espalier {

namespace schema {
struct Description;  // config/schema.h
}

/// Values of a config's fields, by paths as --set takes them; null takes a field or an element away.
using Settings = std::vector<std::pair<std::string, nlohmann::ordered_json>>;

struct SweepPoint {
  std::string name;  ///< safe as that of a folder
  std::optional<std::string> config = {};
  Settings set = {};
};

/// What a column of the table shows: a measure (measures.h) after a stage; no stage: the last.
struct SweepColumn {
  std::string stage, measure;
};

struct Sweep {
  std::string file;                        ///< it was read from; no field
  std::string name;                        ///< absent: the file's name
  std::optional<std::string> config = {};  ///< absent: each point has its own
  std::vector<int64_t> seeds;
  Settings set = {};
  std::vector<SweepPoint> points;        ///< `grid`; of combinations, the last field's values vary first
  std::vector<SweepColumn> report = {};  ///< empty: default_report()
};

/// Parses and checks what the file itself says, and nothing of its configs: all mistakes are told in one
/// UsageError, as parse_config tells them. A grid of combinations becomes points that are called by what they
/// set, "sparsity=0.9,criterion=l1"; no grid is one point that sets nothing, called as the config.
Sweep parse_sweep(const std::string& text, const std::string& file);
Sweep load_sweep(const std::string& file);

/// The measures of the last stage that are reported where the sweep names none.
std::vector<SweepColumn> default_report();

/// The file of the point's config: relative to the sweep's folder, or a recipe. UsageError if there is none.
std::string config_of(const Sweep& sweep, const SweepPoint& point);
/// What --set is given for a run: the values of the sweep, then the point's, then the seed, which "{seed}" in
/// a text stands for.
std::vector<std::string> overrides_of(const Sweep& sweep, const SweepPoint& point, int64_t seed);
/// Whether more than the seed itself differs between seeds.
bool mentions_seed(const Sweep& sweep, const SweepPoint& point);

/// UsageError, with a line for each, if two settings of the point (its own, and the sweep's) give values to
/// one field of `config`, the file, under whatever spellings; or if one gives the seed. What the sweep sets
/// in something that the point takes away is no such mistake. Paths that lead nowhere are left to
/// load_config.
void check_settings(const Sweep& sweep, const SweepPoint& point, const std::string& config);

/// Every field with type and help, for `espalier help sweep` (schema_help.h).
const schema::Description& sweep_description();

}  // namespace espalier
