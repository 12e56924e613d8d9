// The fields of a config, each with its path and value, so that configs can be compared: which differ, and
// what a person calls them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace espalier {

/// Keys from the top down; a stage is called by its name: {"stages", "pruned", "prune", "criterion"}.
using FieldPath = std::vector<std::string>;

struct ConfigField {
  FieldPath path;
  nlohmann::ordered_json value;  ///< a list counts as one value, except that of the stages
};

/// All of them, in the order of `config`, which is JSON as config_json makes it.
std::vector<ConfigField> config_fields(const nlohmann::ordered_json& config);

/// "stages.pruned.prune.criterion"
std::string dotted(const FieldPath& path);

/// What it may be called, from short to complete: "criterion", "pruned.criterion", "prune.criterion", ...,
/// "stages.pruned.prune.criterion". A "type" says nothing without what it is of.
std::vector<std::string> spellings(const FieldPath& path);

/// The shortest spelling of each that is none of another's, nor in `taken`.
std::vector<std::string> short_names(const std::vector<FieldPath>& paths,
                                     const std::vector<std::string>& taken);

}  // namespace espalier
