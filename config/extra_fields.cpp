#include "espalier/config/extra_fields.h"

#include <cmath>

namespace espalier::schema {
namespace {

template <class T>
Type<ExtraValue> as_extra(const Type<T>& type) {
  return {type, [read = type.read](const Json& json, const Place& at) { return ExtraValue(read(json, at)); },
          [write = type.write](const ExtraValue& value) { return write(std::get<T>(value)); }};
}

std::optional<double> bound(double end) { return std::isfinite(end) ? std::optional(end) : std::nullopt; }

}  // namespace

Type<ExtraValue> extra_type(const ExtraOption& option) {
  if (std::holds_alternative<bool>(option.value)) return as_extra(boolean());
  if (std::holds_alternative<std::string>(option.value)) return as_extra(text());
  if (std::holds_alternative<double>(option.value))
    return as_extra(number({.from = bound(option.from), .to = bound(option.to)}));
  const auto end = [](double given, int64_t otherwise) {
    return std::isfinite(given) ? static_cast<int64_t>(given) : otherwise;
  };
  constexpr int64_t exact = int64_t{1} << 53;  // what JSON's numbers hold
  const bool is_large = std::abs(std::get<int64_t>(option.value)) > a_billion;
  const int64_t widest = is_large ? exact : a_billion;
  return as_extra(whole(end(option.from, -widest), end(option.to, widest)));
}

void check_extra_option(const ExtraOption& option, const std::string& row, const Description& type,
                        const FieldDescription* there, bool is_extra) {
  if (!there) return;
  if (!is_extra) fail_usage(row, ": extra option '", option.name, "' is a field already");
  if (there->type->json_schema != type.json_schema)
    fail_usage(row, ": extra option '", option.name, "' is ", type.expected, ", and of '",
               there->variants.front(), "' ", there->type->expected);
}

void check_option(const std::string& option, const std::string& row, const Names& fields) {
  if (!holds(fields, option)) fail_usage(row, ": option '", option, "' is no field", suggest(option, fields));
}

}  // namespace espalier::schema
