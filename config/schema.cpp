// Values, and the parts of objects that do not depend on the struct.
#include "espalier/config/schema.h"

#include <algorithm>
#include <cctype>
#include <cfloat>
#include <cmath>
#include <limits>

#include "espalier/util/home.h"
#include "espalier/util/spelling.h"
#include "espalier/util/utf8.h"

namespace espalier::schema {

bool holds(const Names& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

std::string suggest(const std::string& word, const Names& known) {
  const std::string meant = did_you_mean(word, known);
  return meant.empty() && !known.empty() ? ", known: " + enumerated(known) : meant;
}

Place::Place(std::string file, std::vector<SetValue> set, Mistakes* mistakes)
    : file_(std::move(file)),
      set_(std::make_shared<const std::vector<SetValue>>(std::move(set))),
      mistakes_(mistakes) {}

Place Place::operator/(const std::string& key) const {
  Place place = *this;
  place.pointer_ += "/";
  for (const char c : printable(key, 80))
    place.pointer_ += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return place;
}

std::string Place::message(const std::string& text) const {
  const std::string place = shown(), where = where_set(pointer_, *set_);
  return file_ + ": " + (place.empty() ? "" : place + ": ") + text +
         (where.empty() ? "" : " (set " + where + ")");
}

const FieldDescription* Description::find(const std::string& name) const {
  const auto found =
      std::find_if(fields.begin(), fields.end(), [&](const auto& field) { return field.name == name; });
  return found == fields.end() ? nullptr : &*found;
}

Names Description::names() const {
  const Json& of = json_schema.contains("anyOf") ? json_schema["anyOf"][0] : json_schema;
  return of.value("enum", Names());
}

Names Description::field_names() const {
  Names names;
  for (const FieldDescription& field : fields) names.push_back(field.name);
  return names;
}

bool FieldDescription::is_for(const Json& variant) const {
  return variants.empty() || (variant.is_string() && holds(variants, variant));
}

// --- Values ---

namespace {

/// "a number from 0 to below 1"
std::string in_range(const std::string& what, const Bounds& range) {
  Names parts;
  if (range.above) parts.push_back(join("above ", *range.above));
  if (range.from && (range.to || range.below)) parts.push_back(join("from ", *range.from));
  if (range.from && !range.to && !range.below) parts.push_back(join("of at least ", *range.from));
  if (range.below) parts.push_back(join(range.from ? "to below " : "below ", *range.below));
  if (range.to) parts.push_back(join(range.from ? "to " : "of at most ", *range.to));
  std::string text = what;
  for (const std::string& part : parts) text += " " + part;
  return text;
}

}  // namespace

Type<bool> boolean() {
  const std::string expected = "true or false";
  return {{expected, {{"type", "boolean"}}, {}, {}, {}, {}},
          [=](const Json& json, const Place& at) {
            if (!json.is_boolean()) at.unexpected(json, expected);
            return json.get<bool>();
          },
          [](bool value) { return Json(value); }};
}

Type<double> number(const Bounds& range) {
  const std::string expected = in_range("a number", range);
  Json json_schema = {{"type", "number"}};
  if (range.from) json_schema["minimum"] = *range.from;
  if (range.to) json_schema["maximum"] = *range.to;
  if (range.above) json_schema["exclusiveMinimum"] = *range.above;
  if (range.below) json_schema["exclusiveMaximum"] = *range.below;
  return {{expected, json_schema, {}, {}, {}, {}},
          [=](const Json& json, const Place& at) {
            if (!json.is_number()) at.unexpected(json, expected);
            const double value = json.get<double>();
            if ((range.from && value < *range.from) || (range.to && value > *range.to) ||
                (range.above && value <= *range.above) || (range.below && value >= *range.below)) {
              at.unexpected(json, expected);
            }
            if (std::abs(value) > FLT_MAX) at.unexpected(json, in_range("a number", {.to = FLT_MAX}));
            return value;
          },
          [](double value) { return Json(value); }};
}

Type<int64_t> whole(int64_t from, int64_t to) {
  const std::string full = join("a whole number from ", from, " to ", to);
  const std::string expected = to == a_billion ? join("a whole number of at least ", from) : full;
  return {{expected, {{"type", "integer"}, {"minimum", from}, {"maximum", to}}, {}, {}, {}, {}},
          [=](const Json& json, const Place& at) {
            const double value = json.is_number() ? json.get<double>() : 0.5;
            if (value != std::floor(value) || value < static_cast<double>(from))
              at.unexpected(json, expected);
            if (value > static_cast<double>(to)) at.unexpected(json, full);
            return static_cast<int64_t>(value);
          },
          [](int64_t value) { return Json(value); }};
}

Type<std::string> text() {
  const std::string expected = "text";
  return {{expected, {{"type", "string"}, {"minLength", 1}}, {}, {}, {}, {}},
          [=](const Json& json, const Place& at) {
            if (!json.is_string() || json == "") at.unexpected(json, expected);
            return json.get<std::string>();
          },
          [](const std::string& value) { return Json(value); }};
}

Type<std::string> path() {
  Type<std::string> type = text();
  type.read = [read = type.read](const Json& json, const Place& at) { return expand_home(read(json, at)); };
  return type;
}

Type<std::string> file_name() {
  constexpr size_t longest = 100;
  const std::string expected =
      "a name of letters, digits, '-', '_' and '.', beginning with a letter or digit";
  return {{expected,
           {{"type", "string"}, {"pattern", "^[A-Za-z0-9][A-Za-z0-9._-]*$"}, {"maxLength", longest}},
           {},
           {},
           {},
           {}},
          [=](const Json& json, const Place& at) {
            if (!json.is_string()) at.unexpected(json, expected);
            const std::string name = json;
            const auto is_letter = [](char c) {
              return std::isalnum(static_cast<unsigned char>(c)) && c > 0;
            };
            const bool safe =
                !name.empty() && is_letter(name[0]) && std::all_of(name.begin(), name.end(), [&](char c) {
                  return is_letter(c) || c == '-' || c == '_' || c == '.';
                });
            if (!safe) at.unexpected(json, expected);
            if (name.size() > longest) at.unexpected(json, "at most ", longest, " letters");
            return name;
          },
          [](const std::string& value) { return Json(value); }};
}

Type<std::string> one_of(Names names, Names later) {
  const std::string expected = "one of " + enumerated(names);
  return {{expected, {{"type", "string"}, {"enum", names}}, {}, {}, {}, {}},
          [=](const Json& json, const Place& at) {
            if (!json.is_string()) at.unexpected(json, expected);
            const std::string name = json;
            if (holds(names, name)) return name;
            if (holds(later, name))
              at.fail("'", name, "' is not built yet, this version has ", enumerated(names));
            at.unexpected(json, expected, did_you_mean(name, names));
          },
          [](const std::string& value) { return Json(value); }};
}

Type<std::string> one_of_or(Names names, const std::string& pattern, bool (*matches)(const std::string&),
                            const std::string& called) {
  const std::string expected = "one of " + enumerated(names) + " or " + called;
  return {{expected,
           {{"type", "string"}, {"anyOf", {{{"enum", names}}, {{"pattern", "^" + pattern + "$"}}}}},
           {},
           {},
           {},
           {}},
          [=](const Json& json, const Place& at) {
            if (!json.is_string()) at.unexpected(json, expected);
            const std::string name = json;
            if (holds(names, name) || matches(name)) return name;
            at.unexpected(json, expected, did_you_mean(name, names));
          },
          [](const std::string& value) { return Json(value); }};
}

Description list_description(const Description& element, const Length& length) {
  Description list;
  const bool open = length.to == Length{}.to;
  const std::string size = length.from == length.to ? join(" of ", length.from)
                           : !open                  ? join(" of ", length.from, " to ", length.to)
                           : length.from            ? join(" of at least ", length.from)
                                                    : "";
  list.expected = "a list" + size + ", each " + element.expected;
  list.json_schema = {{"type", "array"}, {"items", nullptr}};
  if (length.from) list.json_schema["minItems"] = length.from;
  if (!open) list.json_schema["maxItems"] = length.to;
  list.element = std::make_shared<const Description>(element);
  return list;
}

void check_list(const Json& json, const Description& list, const Length& length, const Place& at) {
  if (!json.is_array() || json.size() < length.from || json.size() > length.to)
    at.unexpected(json, list.expected);
}

Description map_description(const std::string& name, const Description& value) {
  Description map;
  map.expected = "an object that gives each " + name + " " + value.expected;
  map.json_schema = {{"type", "object"}, {"additionalProperties", nullptr}};
  map.values = std::make_shared<const Description>(value);
  return map;
}

// --- Objects ---

namespace {
bool has_variants(const Description& object) {
  return !object.fields.empty() && object.fields.front().name == object.variant;
}
}  // namespace

Json variant_of(const Json& json, const Description& object) {
  if (!has_variants(object)) return {};
  if (json.contains(object.variant)) {
    const Json& variant = json[object.variant];
    return object.kind_of && variant.is_string() ? Json(object.kind_of(variant)) : variant;
  }
  const auto& defaults = object.fields.front().defaults;
  return defaults.empty() ? Json() : defaults.front().second;
}

std::vector<Json> variants(const Description& object) {
  if (!has_variants(object)) return {Json()};
  const Names names = object.fields.front().type->names();
  return {names.begin(), names.end()};
}

void add_default(FieldDescription& field, const Json& variant, const Json& value) {
  const bool none = field.is_required || !field.is_for(variant) || value.is_null() || value == "";
  if (none) return;
  if (field.defaults.empty() || field.defaults.back().second != value) field.defaults.push_back({{}, value});
  if (variant.is_string()) field.defaults.back().first.push_back(variant);
}

namespace {
const Renamed* renamed_from(const std::string& name, const Description& object) {
  const auto found = std::ranges::find(object.renamed, name, &Renamed::before);
  return found == object.renamed.end() ? nullptr : &*found;
}
}  // namespace

std::string unknown_field(const std::string& name, const Description& object) {
  if (const Renamed* renamed = renamed_from(name, object))
    return join("field '", name, "' is now called '", renamed->now, "'");
  return holds(object.later, name) ? "not built yet" : "no such field" + suggest(name, object.field_names());
}

void fail_unknown(const std::string& name, const Description& object, const Place& at) {
  const Place& place = renamed_from(name, object) ? at : at / name;
  place.fail(unknown_field(name, object));
}

void check_field(const std::string& name, const Description& object, const Json& variant, const Place& at) {
  const FieldDescription* field = object.find(name);
  if (!field) fail_unknown(name, object, at);
  if (variant.is_null() || field->is_for(variant)) return;
  (at / name).fail("is for ", object.variant, " ", enumerated(field->variants, " or "), ", and the ",
                   object.variant, " is ", variant.get<std::string>());
}

namespace {
/// Of fields that exclude each other: what takes away those that stand in the way of what was typed.
std::string how_to_leave_out(const Names& found, const Place& at) {
  Names options;
  for (const std::string& name : found)
    if (!(at / name).is_typed()) options.push_back("--set " + (at / name).shown() + "=null");
  if (options.empty() || options.size() == found.size()) return "";
  return "; " + enumerated(options, " and ") + (options.size() == 1 ? " takes " : " take ") + "the other" +
         (options.size() == 1 ? "" : "s") + " away";
}
}  // namespace

void check_given(const Json& json, const Description& object, const Json& variant, const Place& at) {
  Names given;  // or meant to be
  for (const auto& [name, value] : json.items()) {
    const Renamed* renamed = renamed_from(name, object);
    given.push_back(object.find(name) ? name
                    : renamed         ? renamed->now
                                      : nearest_spelling(name, object.field_names()));
  }
  for (const FieldDescription& field : object.fields)
    if (field.is_required && field.is_for(variant) && !holds(given, field.name))
      (at / field.name).mistake("missing, expected ", field.type->expected);
  const bool is_known = !has_variants(object) || !variant.is_null();
  for (const Names& group : object.exactly_one) {
    Names found, possible;
    for (const std::string& name : group) {
      const bool is_possible = !is_known || object.find(name)->is_for(variant);
      if (is_possible) possible.push_back(name);
      if (is_possible && json.contains(name)) found.push_back(name);
    }
    const bool meant =
        std::any_of(group.begin(), group.end(), [&](auto& name) { return holds(given, name); });
    if (possible.empty()) continue;
    if (found.size() > 1 || (found.empty() && !meant))
      at.mistake("found ", found.empty() ? "none" : enumerated(found, " and "), ", expected exactly one of ",
                 enumerated(possible), how_to_leave_out(found, at));
  }
}

namespace {
Json object_schema(const Description& object) {
  Json schema = {{"type", "object"}, {"additionalProperties", false}, {"properties", Json::object()}};
  Json required = Json::array(), conditions = Json::array();
  for (const FieldDescription& field : object.fields) {
    Json property = {{"description", field.help}};
    property.update(full_json_schema(*field.type));
    if (field.defaults.size() == 1) property["default"] = field.defaults[0].second;
    schema["properties"][field.name] = property;

    Json named = {{"enum", field.variants}};
    const Json& first = object.fields.front().type->json_schema;
    if (object.kind_of && std::ranges::any_of(field.variants, [&](const std::string& name) {
          return !holds(first["anyOf"][0]["enum"].get<Names>(), name);  // what only the pattern describes
        }))
      named = {{"anyOf", {named, first["anyOf"][1]}}};
    Json is_variant = {{"properties", {{object.variant, named}}}};
    if (!object.fields.front().is_required) is_variant["required"] = {object.variant};
    if (field.is_required && field.variants.empty()) required.push_back(field.name);
    if (field.is_required && !field.variants.empty()) {
      conditions.push_back({{"if", is_variant}, {"then", {{"required", {field.name}}}}});
    }
    if (!field.variants.empty()) schema["dependentSchemas"][field.name] = is_variant;
  }
  for (const Names& group : object.exactly_one) {
    Json choices = Json::array();
    for (const std::string& name : group) choices.push_back({{"required", {name}}});
    Json condition = {{"oneOf", choices}};
    const Json& first = object.fields.front().type->json_schema;
    if (object.kind_of)  // those that only a pattern describes have none of the group
      condition = {
          {"anyOf",
           {condition,
            {{"properties", {{object.variant, first["anyOf"][1]}}}, {"required", {object.variant}}}}}};
    conditions.push_back(condition);
  }
  if (!required.empty()) schema["required"] = required;
  if (!conditions.empty()) schema["allOf"] = conditions;
  return schema;
}
}  // namespace

Json full_json_schema(const Description& value) {
  Json schema = value.json_schema;
  const auto is_left = [&](const char* part) { return schema.contains(part) && schema[part].is_null(); };
  if (schema.value("type", "") == "object" && !value.values) return object_schema(value);
  if (is_left("items")) schema["items"] = full_json_schema(*value.element);
  if (is_left("additionalProperties")) schema["additionalProperties"] = full_json_schema(*value.values);
  return schema;
}

}  // namespace espalier::schema
