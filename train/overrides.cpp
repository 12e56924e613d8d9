// Walks a dotted path through the config and its description at once.
#include "espalier/train/overrides.h"

#include <charconv>
#include <utility>
#include <vector>

#include "espalier/core/utf8.h"
#include "espalier/formats/json.h"

namespace espalier {
namespace {

using schema::Description;
using schema::fail_unknown;
using schema::FieldDescription;
using schema::Json;
using schema::Place;
using schema::suggest;

/// The part of `path` before its first dot; `path` keeps what is behind it.
std::string take_key(std::string& path, const Place& at) {
  const size_t dot = path.find('.');
  if (dot == 0 || dot + 1 == path.size())
    at.fail("the path has an empty part, expected a name on both sides of a dot");
  const std::string key = path.substr(0, dot);
  path.erase(0, key.size() + 1);
  return key;
}

const FieldDescription& take_field(const Description& object, std::string& path, const Place& at) {
  const std::string key = take_key(path, at);
  if (const FieldDescription* field = object.find(key)) return *field;
  fail_unknown(key, object, at);
}

/// The element that `path` begins with, by number or by name (which may hold dots); `path` keeps what is
/// behind it.
size_t take_index(const Json& list, std::string& path, const Place& at) {
  std::vector<std::string> names;
  for (size_t i = 0; i < list.size(); ++i) {
    if (!list[i].is_object() || !list[i].contains("name") || !list[i]["name"].is_string()) continue;
    const std::string name = list[i]["name"];
    if (path == name || (path.starts_with(name + ".") && path.size() > name.size() + 1)) {
      path.erase(0, name.size() + 1);
      return i;
    }
    names.push_back(printable(name));
  }
  const std::string key = take_key(path, at);
  size_t index = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
  if (error == std::errc() && end == key.data() + key.size() && index < list.size()) return index;
  at.fail("no element '", printable(key), "' in a list of ", list.size(), suggest(key, names));
}

Json parse_value(const std::string& text, const Description& type, const Place& at) {
  if (!is_utf8(text)) at.fail("the value is not UTF-8");
  if (!Json::accept(text)) return text;
  try {
    const Json value = parse_json(text, "the value");
    const bool wants_text = type.json_schema.value("type", "") == "string";
    return wants_text && !value.is_string() && !value.is_null() ? Json(text) : value;
  } catch (const Error& error) {
    at.fail(error.what());
  }
}

}  // namespace

std::string apply_override(Json& root, const Description& description, const std::string& assignment) {
  const Place start("--set " + printable(assignment));
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) start.fail("expected path.to.field=value");

  std::string path = assignment.substr(0, equals);
  Place at = start;
  const Description* type = &description;
  Json* value = &root;
  Json* object = nullptr;  // that `value` is a field of
  std::string name;
  while (!path.empty()) {
    if (type->element) {
      if (!value->is_array()) at.fail("there is no list here in the config");
      const size_t index = take_index(*value, path, at);
      object = nullptr;
      value = &(*value)[index];
      type = type->element.get();
      at = at / index;
    } else {
      if (!type->is_object()) at.fail("is ", type->expected, ", which has no field '", printable(path), "'");
      if (value->is_null()) *value = Json::object();
      if (!value->is_object()) at.fail("there is no object here in the config");
      const auto inner = type->values;  // of a map, whose names may hold dots
      const FieldDescription* field = inner ? nullptr : &take_field(*type, path, at);
      name = field ? field->name : std::exchange(path, {});
      object = value;
      value = &(*value)[name];
      type = field ? field->type.get() : inner.get();
      at = at / name;
    }
  }
  *value = parse_value(assignment.substr(equals + 1), *type, at);
  if (object && value->is_null()) object->erase(name);
  return at.pointer();
}

}  // namespace espalier
