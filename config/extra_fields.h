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

}  // namespace espalier::schema
