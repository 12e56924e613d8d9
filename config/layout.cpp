#include "espalier/config/layout.h"

#include <nlohmann/json.hpp>

namespace espalier {
namespace {

using Json = nlohmann::ordered_json;

/// What stands before each value of an object or a list.
std::string label_of(const Json& json, const Json::const_iterator& value) {
  return json.is_object() ? Json(value.key()).dump() + ": " : "";
}

std::string in_a_line(const Json& json) {
  if (!json.is_structured()) return json.dump();
  std::string text(1, json.is_object() ? '{' : '[');
  for (auto value = json.begin(); value != json.end(); ++value)
    text += (value == json.begin() ? "" : ", ") + label_of(json, value) + in_a_line(*value);
  return text + (json.is_object() ? '}' : ']');
}

/// `used`: bytes of the line before it; one more is kept free for what follows it.
std::string laid_out_at(const Json& json, size_t used, size_t indent, size_t width) {
  std::string line = in_a_line(json);
  if (!json.is_structured() || json.empty() || used + line.size() + 1 <= width) return line;
  const std::string inner(indent + 2, ' ');
  std::string text(1, json.is_object() ? '{' : '[');
  for (auto value = json.begin(); value != json.end(); ++value) {
    const std::string before = inner + label_of(json, value);
    text += (value == json.begin() ? "\n" : ",\n") + before;
    text += laid_out_at(*value, before.size(), inner.size(), width);
  }
  return text + "\n" + std::string(indent, ' ') + (json.is_object() ? '}' : ']');
}

}  // namespace

std::string laid_out(const Json& json, size_t width) { return laid_out_at(json, 0, 0, width); }

}  // namespace espalier
