// Names in a saved config that mean nothing here: a program registered them, and another one reads its file.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace espalier {

/// Each with what it is, "optimizer 'lion'": names that are no rows of this program's registries. `config` is
/// JSON as config_json makes it; whatever else is wrong with it is not looked at.
std::vector<std::string> unregistered_names(const nlohmann::ordered_json& config);

}  // namespace espalier
