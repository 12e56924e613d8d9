// Fields that are declared once. A Type<T> says what a value may be and turns JSON into a T and back;
// object<S>() makes the Type of a struct from a list of its fields. From that one declaration come the reader
// with its messages, the writer, the help (schema_help.h) and the JSON Schema:
//
//   struct Point { double x = 0, y = 0; };
//   const Type<Point> point =
//       object<Point>({field("x", &Point::x, number({.from = 0}), "metres east").required(),
//                      field("y", &Point::y, number({}), "metres north")});
//
//   point.read(json, Place("p.json"))
//   // or UsageError "p.json: /x: found -1, expected a number of at least 0"
//
// A Place that gathers mistakes has read() go on after each: what is wrong keeps its default.
//
// A field's default is the one in its struct; a std::optional member may be absent. An object whose first
// field is named `type`, or what Rules::variant says, comes in variants: a field may be only for some of
// them, and defaults may depend on it.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "espalier/config/json.h"
#include "espalier/config/set_value.h"
#include "espalier/util/error.h"
#include "espalier/util/mistakes.h"

namespace espalier::schema {

using Json = nlohmann::ordered_json;
using Names = std::vector<std::string>;

bool holds(const Names& names, const std::string& name);
/// ", did you mean 'adam'?" or, where nothing is near, ", known: sgd, adam, adamw": the end of a message.
std::string suggest(const std::string& word, const Names& known);

/// Where a value stands: a file and a JSON pointer into it.
class Place {
 public:
  /// `set`: what --set has set; messages about these values say where, and those about what
  /// they stand in or beside say its path in the words that were typed. `mistakes`: where they are gathered;
  /// without, the first is thrown.
  explicit Place(std::string file, std::vector<SetValue> set = {}, Mistakes* mistakes = nullptr);
  Place operator/(const std::string& key) const;
  Place operator/(size_t index) const { return *this / std::to_string(index); }
  const std::string& pointer() const { return pointer_; }
  /// As messages show it: in the words that were typed, where it was.
  std::string shown() const { return schema::shown(pointer_, *set_); }
  /// Whether the command line has set what stands here, in it or above it.
  bool is_typed() const { return is_set(pointer_, *set_) || holds_set(pointer_, *set_); }

  /// UsageError "FILE: POINTER: parts".
  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    throw UsageError(message(join(parts...)));
  }
  /// "found -1, expected a whole number of at least 1"
  template <class... Parts>
  [[noreturn]] void unexpected(const Json& found, const Parts&... expected) const {
    fail("found ", in_words(found), ", expected ", expected...);
  }

  /// Does `act`, whose mistake is gathered where mistakes are: then the answer is false.
  template <class Act>
  bool attempt(const Act& act) const {
    if (mistakes_) return mistakes_->attempt(pointer_, act);
    act();
    return true;
  }
  /// The same as fail(), but goes on where mistakes are gathered: for what does not make worse what follows.
  template <class... Parts>
  void mistake(const Parts&... parts) const {
    attempt([&] { fail(parts...); });
  }
  /// Whether no mistake has been gathered here, below or above.
  bool is_sound() const { return !mistakes_ || mistakes_->spare(pointer_); }

 private:
  std::string message(const std::string& text) const;

  std::string file_, pointer_;
  std::shared_ptr<const std::vector<SetValue>> set_;
  Mistakes* mistakes_;
};

// --- What a value may be, apart from the C++ type that holds it ---

struct FieldDescription;

/// A field that had another name in versions before.
struct Renamed {
  std::string before, now;
};

struct Description {
  std::string expected;  ///< "a whole number of at least 1"
  /// The same for editors. Since most programs never ask, full_json_schema() adds an object's fields, and
  /// what a list's `items` or a map's `additionalProperties` are where these are null.
  Json json_schema;
  std::shared_ptr<const Description> element;  ///< of a list
  std::vector<FieldDescription> fields;        ///< of an object
  std::vector<Names> exactly_one;              ///< of an object: groups of fields of which one is given
  Names later;                                 ///< of an object: fields that are designed, but not built yet
  std::string variant = "type";                ///< of an object: its first field, if that has variants
  std::shared_ptr<const Description> values = {};  ///< of a map: of each name's value
  /// Of an object whose variants are more than their kinds, as of units 2:4 and 4:8: the kind of one, by
  /// which fields are for it; null: each is its own.
  std::string (*kind_of)(const std::string& variant) = nullptr;
  std::vector<Renamed> renamed = {};  ///< of an object
  /// What stands in it has been described where this stands: help does not say it again.
  bool is_again = false;

  /// Whether it may be one: then it has fields, or values.
  bool is_object() const { return json_schema.value("type", "") == "object" || !fields.empty(); }
  const FieldDescription* find(const std::string& name) const;  ///< null: no such field
  Names names() const;  ///< that a value may be; none where it is no name
  Names field_names() const;
};

struct FieldDescription {
  std::string name, help;
  std::shared_ptr<const Description> type;
  bool is_required = false;
  Names variants = {};                                ///< it is only for these; empty: for all
  std::vector<std::pair<Names, Json>> defaults = {};  ///< each with the variants that have it

  bool is_for(const Json& variant) const;
  /// What its value is made of: its type, or of a list its elements'.
  const Description& inner() const { return type->element ? *type->element : *type; }
};

template <class T>
struct Type : Description {
  std::function<T(const Json&, const Place&)> read;
  std::function<Json(const T&)> write;
};

/// The JSON Schema of a value with all that it holds.
Json full_json_schema(const Description& value);

// --- Values ---

struct Bounds {
  std::optional<double> from = {}, above = {}, to = {}, below = {};
};
constexpr int64_t a_billion = 1'000'000'000;

Type<bool> boolean();
/// A number in the range that a float can hold.
Type<double> number(const Bounds& range);
/// A whole number; 3.0 is one.
Type<int64_t> whole(int64_t from, int64_t to = a_billion);
/// Text, not empty.
Type<std::string> text();
/// A path, relative to the working directory or the home folder (util/home.h).
Type<std::string> path();
/// Text that is safe as the name of a file or folder.
Type<std::string> file_name();
/// One of `names`, or what `matches` (`pattern`, for editors), which messages call `called`.
Type<std::string> one_of_or(Names names, const std::string& pattern, bool (*matches)(const std::string&),
                            const std::string& called);
/// One of `names`. One of `later` is designed but not built yet, and the message says so.
Type<std::string> one_of(Names names, Names later = {});

struct Length {
  size_t from = 0, to = std::numeric_limits<size_t>::max();
};
Description list_description(const Description& element, const Length& length);
void check_list(const Json& json, const Description& list, const Length& length, const Place& at);

template <class T>
Type<std::vector<T>> list_of(const Type<T>& element, const Length& length = {}) {
  const auto list = std::make_shared<const Description>(list_description(element, length));
  return {*list,
          [list, length, read = element.read](const Json& json, const Place& at) {
            check_list(json, *list, length, at);
            std::vector<T> values(json.size());
            for (size_t i = 0; i < json.size(); ++i)
              (at / i).attempt([&] { values[i] = read(json[i], at / i); });
            return values;
          },
          [write = element.write](const std::vector<T>& values) {
            Json json = Json::array();
            for (const T& value : values) json.push_back(write(value));
            return json;
          }};
}

/// An object whose names are free, each with a value; read in the order in which they stand.
Description map_description(const std::string& name, const Description& value);

template <class T>
Type<std::vector<std::pair<std::string, T>>> map_of(const std::string& name, const Type<T>& value) {
  const auto map = std::make_shared<const Description>(map_description(name, value));
  return {*map,
          [map, read = value.read](const Json& json, const Place& at) {
            if (!json.is_object()) at.unexpected(json, map->expected);
            std::vector<std::pair<std::string, T>> values;
            for (const auto& item : json.items())
              (at / item.key()).attempt([&] {
                values.emplace_back(item.key(), read(item.value(), at / item.key()));
              });
            return values;
          },
          [write = value.write](const std::vector<std::pair<std::string, T>>& values) {
            Json json;  // an empty one is absent
            for (const auto& [key, one] : values) json[key] = write(one);
            return json;
          }};
}

// --- Objects ---

/// A field of a struct S: its description, and what moves it between JSON and the struct. `write` gives null
/// for absent.
template <class S>
struct Field : FieldDescription {
  std::function<void(const Json&, const Place&, S&)> read;
  std::function<Json(const S&)> write;

  Field(const std::string& name, const std::string& help, const Description& type, decltype(read) read,
        decltype(write) write)
      : FieldDescription{name, help, std::make_shared<const Description>(type)},
        read(std::move(read)),
        write(std::move(write)) {}
  /// A field of S's base.
  template <class Base>
  Field(const Field<Base>& field) : FieldDescription(field), read(field.read), write(field.write) {}

  Field required() && {
    is_required = true;
    return std::move(*this);
  }
  Field only_for(Names names) && {
    variants = std::move(names);
    return std::move(*this);
  }
};

template <class S, class T>
Field<S> field(const std::string& name, T S::*member, const Type<T>& type, const std::string& help) {
  return {name, help, type,
          [member, read = type.read](const Json& json, const Place& at, S& s) { s.*member = read(json, at); },
          [member, write = type.write](const S& s) { return write(s.*member); }};
}

template <class S, class T>
Field<S> field(const std::string& name, std::optional<T> S::*member, const Type<T>& type,
               const std::string& help) {
  return {name, help, type,
          [member, read = type.read](const Json& json, const Place& at, S& s) { s.*member = read(json, at); },
          [member, write = type.write](const S& s) { return s.*member ? write(*(s.*member)) : Json(); }};
}

/// What holds between the fields of an object.
template <class S>
struct Rules {
  std::string variant = "type";  ///< the first field, which has a default where it is not required
  std::vector<Names> exactly_one = {};
  Names later = {};
  std::vector<Renamed> renamed = {};
  std::function<void(S&)> defaults = {};                         ///< sets those that depend on `type`
  std::string (*kind_of)(const std::string& variant) = nullptr;  ///< Description::kind_of
  /// Fails where the values, each of which is sound, do not fit each other.
  std::function<void(const S&, const Place&)> check = {};
};

/// Why the object has no such field: it has another name now, is not built yet, or nobody knows it.
std::string unknown_field(const std::string& name, const Description& object);
/// Fails for a field that the object does not declare.
[[noreturn]] void fail_unknown(const std::string& name, const Description& object, const Place& at);
/// Fails unless the object declares the field for this variant (null: of what variant it is is not known).
void check_field(const std::string& name, const Description& object, const Json& variant, const Place& at);
/// A mistake for each required field that is not given and each group of which not one is, unless a misspelt
/// name or one for another variant is why.
void check_given(const Json& json, const Description& object, const Json& variant, const Place& at);
/// What names the object's variant, `type` say, or its kind; null if it has none.
Json variant_of(const Json& json, const Description& object);
/// The values that `type` may have; one null for an object without variants.
std::vector<Json> variants(const Description& object);
void add_default(FieldDescription& field, const Json& variant, const Json& value);

template <class S>
Type<S> object(const std::vector<Field<S>>& fields, const Rules<S>& rules = {}) {
  struct Object : Description {
    std::vector<Field<S>> bound;
    Rules<S> rules;

    /// A value with the defaults of this variant.
    S start(const Json& variant, const Place& at) const {
      S value;
      if (!variant.is_null() && !rules.kind_of) bound.front().read(variant, at / bound.front().name, value);
      if (rules.defaults) rules.defaults(value);
      return value;
    }
  };
  const auto object = std::make_shared<Object>();
  object->expected = "an object";
  object->json_schema = {{"type", "object"}};
  object->bound = fields;
  object->rules = rules;
  object->fields.assign(fields.begin(), fields.end());
  object->exactly_one = rules.exactly_one;
  object->later = rules.later;
  object->variant = rules.variant;
  object->kind_of = rules.kind_of;
  object->renamed = rules.renamed;
  const S plain = object->start(Json(), Place(""));
  for (const Json& variant : variants(*object)) {
    const S value = object->start(variant, Place(""));
    for (size_t i = 0; i < fields.size(); ++i) {
      if (i == 0 && !variant.is_null())  // what names the variant has one default
        add_default(object->fields[i], Json(), fields[i].write(plain));
      else
        add_default(object->fields[i], variant, fields[i].write(value));
    }
  }
  return {*object,
          [object](const Json& json, const Place& at) {
            if (!json.is_object()) at.unexpected(json, object->expected);
            S value;
            Json variant = variant_of(json, *object);
            const Place named = at / object->variant;
            const auto begin = [&] {
              value = object->start(variant, at);
              if (object->kind_of && json.contains(object->variant))  // else start() has read it
                object->bound.front().read(json[object->variant], named, value);
            };
            if (!named.attempt(begin)) variant = Json();
            for (const auto& item : json.items()) {  // mistakes come in the file's order
              const std::string& name = item.key();
              const Json& given = item.value();
              const Place place = at / name;
              if (!place.is_sound()) continue;  // it is said already
              place.attempt([&] {
                check_field(name, *object, variant, at);
                for (const Field<S>& field : object->bound)
                  if (field.name == name) field.read(given, place, value);
              });
            }
            check_given(json, *object, variant, at);
            if (object->rules.check && at.is_sound()) at.attempt([&] { object->rules.check(value, at); });
            return value;
          },
          [object](const S& value) {
            Json json = Json::object();
            for (const Field<S>& field : object->bound) {
              const Json written = field.write(value);
              if (!written.is_null() && field.is_for(variant_of(json, *object))) json[field.name] = written;
            }
            return json;
          }};
}

}  // namespace espalier::schema
