// The fields of configs that the rows of a registry declare as extra options (util/extra_options.h).
#pragma once

#include "espalier/config/schema.h"
#include "espalier/util/extra_options.h"
#include "espalier/util/registry.h"

namespace espalier::schema {

/// What an extra option may be.
Type<ExtraValue> extra_type(const ExtraOption& option);
/// UsageError where a name means two things: an extra option that is also a field, or of another type or
/// range in one row than in another.
void check_extra_option(const ExtraOption& option, const std::string& row, const Description& type,
                        const FieldDescription* there, bool is_extra);

/// UsageError for what a row says concerns it and is none of `fields`.
void check_option(const std::string& option, const std::string& row, const Names& fields);

/// `fields`, and one for each extra option of the rows, which is only for the rows that have it.
template <class S, class Row>
std::vector<Field<S>> with_extra_fields(std::vector<Field<S>> fields, const Registry<Row>& rows,
                                        std::type_identity_t<ExtraOptions S::*> extra) {
  const size_t own = fields.size();
  Names own_names;
  for (const Field<S>& field : fields) own_names.push_back(field.name);
  for (const Row& row : rows) {
    if constexpr (requires { row.options; })
      for (const std::string& option : row.options)
        check_option(option, rows.kind() + " " + row.name, own_names);
    for (const ExtraOption& option : row.extra) {
      const Type<ExtraValue> type = extra_type(option);
      const auto there = std::ranges::find(fields, option.name, &Field<S>::name);
      const bool is_extra = there - fields.begin() >= static_cast<std::ptrdiff_t>(own);
      check_extra_option(option, rows.kind() + " " + row.name, type,
                         there == fields.end() ? nullptr : &*there, is_extra);
      if (there != fields.end()) {
        there->variants.push_back(row.name);
        continue;
      }
      fields.push_back(
          Field<S>(
              option.name, option.help, type,
              [extra, name = option.name, read = type.read](const Json& json, const Place& at, S& s) {
                (s.*extra).set(name, read(json, at));
              },
              [extra, name = option.name, write = type.write](const S& s) {
                const ExtraValue* value = (s.*extra).find(name);
                return value ? write(*value) : Json();
              })
              .only_for({row.name}));
    }
  }
  return fields;
}

/// "HELP. sgd: steps against ...; adam: ...": of a field that names a row, with what each says of itself.
template <class Row>
std::string help_with_rows(const std::string& help, const Registry<Row>& rows) {
  std::string text = help;
  for (const Row& row : rows) text += (text.size() == help.size() ? ". " : "; ") + row.name + ": " + row.help;
  return text;
}

/// What names a row of a registry in a config: only its name or, where it has extra options, an object with
/// its `type` and these. `later`: names that are designed, but not built yet.
template <class S, class Row>
Type<S> name_or_options(const Registry<Row>& rows, std::string S::*type, ExtraOptions S::*extra,
                        const std::string& help, const Names& later = {}) {
  const auto take_defaults = [&rows, type, extra](S& s) {
    const Row& row = rows.named(s.*type);
    s.*extra = (s.*extra).with_defaults(row.extra, row.name);
  };
  const Type<std::string> name = one_of(rows.names(), later);
  const Type<S> whole = object<S>(
      with_extra_fields<S>({field("type", type, name, help_with_rows(help, rows)).required()}, rows, extra),
      {.defaults = take_defaults});
  Description either = name;
  either.json_schema = {{"anyOf", {name.json_schema, full_json_schema(whole)}}};
  if (whole.fields.size() > 1) {  // else there is nothing to say beside the name
    either.fields = whole.fields;
    either.expected += ", or an object of its type and options";
  }
  return {
      either,
      [=](const Json& json, const Place& at) {
        if (json.is_object()) return whole.read(json, at);
        if (!json.is_string()) at.unexpected(json, either.expected);
        S s;
        s.*type = name.read(json, at);
        take_defaults(s);
        return s;
      },
      [=, &rows](const S& s) { return rows.named(s.*type).extra.empty() ? Json(s.*type) : whole.write(s); }};
}

}  // namespace espalier::schema
