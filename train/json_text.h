// Text to JSON, strictly, with messages for people.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace espalier {

/// Text that is no JSON (comments are none), holds a number that no double can, or gives a field twice in one
/// object is a UsageError with line and column: "configs/x.json:12:5: not JSON: a comma before '}'".
nlohmann::ordered_json parse_json(const std::string& text, const std::string& file);

}  // namespace espalier
