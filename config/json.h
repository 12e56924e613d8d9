// JSON that a file or a person gave: text to values, strictly, and the fields of an object, each asked for by
// name. Whatever is wrong is said in words for people, with its place.
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace espalier {

/// How deep lists and objects may lie in each other. Copies, comparisons and dumps of a value recurse, so
/// that the stack must not be in the hands of who wrote the text.
inline constexpr size_t deepest_json = 100;

/// Text that is no JSON (comments are none, see plain_json.h, nor is what stands after a zero byte), is
/// nested too deep, holds a number that no double can, or gives a field twice in one object is an Error with
/// line and column: "configs/x.json:12:5: not JSON: a comma before '}'".
nlohmann::ordered_json parse_json(std::string_view text, const std::string& file);

/// "12:5": line and column, both from 1, of the character at `offset`.
std::string line_and_column(std::string_view text, size_t offset);

/// "PLACE/KEY", short and printable whatever the key; the first key is set off: "FILE: /KEY".
std::string json_place(const std::string& place, std::string_view key);

/// What was found, for a message: "an object", "a list of 3", "the text \"mlp\"", "-1".
std::string in_words(const nlohmann::ordered_json& found);

/// A value as a T: bool, double, an integer, std::string, JSON of any kind, a std::vector or a std::map by
/// names of these.
/// Anything else, a fraction or too large a number for an integer too, is an Error
/// "PLACE: found ..., expected ...".
template <class T>
T json_value(const nlohmann::ordered_json& json, const std::string& place);

/// The field `name` of `object` as a T; if it is missing or is something else, an Error that begins
/// "PLACE/NAME: ".
template <class T>
T json_field(const nlohmann::ordered_json& object, const char* name, const std::string& place);

/// The same for a count: a whole number from 0 to 2^53 - 1, so that no sum of some overflows.
int64_t json_count(const nlohmann::ordered_json& object, const char* name, const std::string& place);

// --- How it is done ---

namespace detail {

/// Each reads `json` into `value`, or throws.
void read_json(const nlohmann::ordered_json& json, const std::string& place, nlohmann::ordered_json& value);
void read_json(const nlohmann::ordered_json& json, const std::string& place, bool& value);
void read_json(const nlohmann::ordered_json& json, const std::string& place, double& value);
void read_json(const nlohmann::ordered_json& json, const std::string& place, std::string& value);
/// A whole number from `min_value` to `max_value`.
int64_t whole_json(const nlohmann::ordered_json& json, const std::string& place, int64_t min_value,
                   int64_t max_value);
/// Throws unless it is one.
void check_list(const nlohmann::ordered_json& json, const std::string& place);
void check_object(const nlohmann::ordered_json& json, const std::string& place);
/// The field `name`; throws if it is missing.
const nlohmann::ordered_json& field_of(const nlohmann::ordered_json& object, const char* name,
                                       const std::string& place);

template <std::integral T>
requires(std::is_signed_v<T> ||
         sizeof(T) < sizeof(int64_t)) void read_json(const nlohmann::ordered_json& json,
                                                     const std::string& place, T& value) {
  value =
      static_cast<T>(whole_json(json, place, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
}

template <class T>
void read_json(const nlohmann::ordered_json& json, const std::string& place, std::vector<T>& value) {
  check_list(json, place);
  for (size_t i = 0; i < json.size(); ++i)
    value.push_back(json_value<T>(json[i], json_place(place, std::to_string(i))));
}

template <class T>
void read_json(const nlohmann::ordered_json& json, const std::string& place,
               std::map<std::string, T>& value) {
  check_object(json, place);
  for (const auto& [name, inner] : json.items()) value[name] = json_value<T>(inner, json_place(place, name));
}

}  // namespace detail

template <class T>
T json_value(const nlohmann::ordered_json& json, const std::string& place) {
  T value{};
  detail::read_json(json, place, value);
  return value;
}

template <class T>
T json_field(const nlohmann::ordered_json& object, const char* name, const std::string& place) {
  return json_value<T>(detail::field_of(object, name, place), json_place(place, name));
}

}  // namespace espalier
