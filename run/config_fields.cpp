#include "espalier/run/config_fields.h"

#include <algorithm>
#include <map>

namespace espalier {

using Json = nlohmann::ordered_json;

namespace {

void collect(const Json& json, FieldPath& path, std::vector<ConfigField>& fields) {
  const auto inside = [&](const std::string& key, const Json& value) {
    path.push_back(key);
    collect(value, path, fields);
    path.pop_back();
  };
  if (json.is_object()) {
    for (const auto& [key, value] : json.items()) inside(key, value);
  } else if (json.is_array() && path == FieldPath{"stages"}) {
    for (const Json& stage : json) {
      Json rest = stage;
      rest.erase("name");
      inside(stage.at("name").get<std::string>(), rest);
    }
  } else {
    fields.push_back({path, json});
  }
}

/// The keys from number `first` on.
std::string dotted(const FieldPath& path, size_t first) {
  std::string text;
  for (size_t i = first; i < path.size(); ++i) text += (i > first ? "." : "") + path[i];
  return text;
}

}  // namespace

std::vector<ConfigField> config_fields(const Json& config) {
  std::vector<ConfigField> fields;
  FieldPath path;
  collect(config, path, fields);
  return fields;
}

std::string dotted(const FieldPath& path) { return dotted(path, 0); }

std::vector<std::string> spellings(const FieldPath& path) {
  const bool of_stage = path.size() > 2 && path[0] == "stages";
  std::vector<std::string> names;
  for (size_t first = path.size(); first-- > 0;) {
    if (first + 1 == path.size() && path[first] == "type") continue;
    names.push_back(dotted(path, first));
    if (of_stage && first > 2) names.push_back(path[1] + "." + names.back());
  }
  return names;
}

std::vector<std::string> short_names(const std::vector<FieldPath>& paths,
                                     const std::vector<std::string>& taken) {
  std::map<std::string, int> meant;  // how many a spelling could mean
  for (const std::string& name : taken) ++meant[name];
  for (const FieldPath& path : paths)
    for (const std::string& name : spellings(path)) ++meant[name];
  std::vector<std::string> names;
  for (const FieldPath& path : paths) {
    const auto all = spellings(path);
    const auto only = std::ranges::find_if(all, [&](const std::string& name) { return meant[name] == 1; });
    names.push_back(only == all.end() ? all.back() : *only);
  }
  return names;
}

}  // namespace espalier
