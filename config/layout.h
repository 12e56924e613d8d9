// JSON as a person writes it down: what fits in a line stands in one.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace espalier {

/// `json` as text without a line's end after it. An object or a list that fits into what is left of a line of
/// `width` bytes stands there, {"a": 1, "b": [2, 3]}; each value of any other has lines of its own, two
/// spaces further in. A single value is never broken, whatever it takes.
std::string laid_out(const nlohmann::ordered_json& json, size_t width);

}  // namespace espalier
