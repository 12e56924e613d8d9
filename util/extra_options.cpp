#include "espalier/util/extra_options.h"

#include <algorithm>
#include <optional>

#include "espalier/util/error.h"
#include "espalier/util/spelling.h"

namespace espalier {

namespace {

const char* type_of(const ExtraValue& value) {
  constexpr const char* names[] = {"true or false", "a whole number", "a number", "a text"};
  return names[value.index()];
}

/// Of a number; nothing for what is none.
std::optional<double> number_in(const ExtraValue& value) {
  if (const auto* real = std::get_if<double>(&value)) return *real;
  if (const auto* whole = std::get_if<int64_t>(&value)) return static_cast<double>(*whole);
  return std::nullopt;
}

void check_range(const ExtraOption& option, const ExtraValue& value, const std::string& whose) {
  const auto number = number_in(value);
  if (number && !(*number >= option.from && *number <= option.to))
    fail_usage(whose, ": ", option.name, ": found ", *number, ", expected from ", option.from, " to ",
               option.to);
}

}  // namespace

void check_extra_options(const std::vector<ExtraOption>& declared, const std::string& whose) {
  for (const ExtraOption& option : declared)
    check_range(option, option.value, whose + ": the default of extra option");
}

double ExtraOptions::number(const std::string& name) const {
  const ExtraValue* value = find(name);
  if (const auto number = value ? number_in(*value) : std::nullopt) return *number;
  return get<double>(name, "a number");
}

const ExtraValue* ExtraOptions::find(const std::string& name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? nullptr : &found->second;
}

template <class T>
const T& ExtraOptions::get(const std::string& name, const char* expected) const {
  const ExtraValue* value = find(name);
  ESP_CHECK(value, "option '", name,
            "' is not there: neither given nor filled in from what its row declares");
  const T* held = std::get_if<T>(value);
  ESP_CHECK(held, "option '", name, "' is ", type_of(*value), ", and is read as ", expected);
  return *held;
}
template const int64_t& ExtraOptions::get(const std::string&, const char*) const;
template const bool& ExtraOptions::get(const std::string&, const char*) const;
template const std::string& ExtraOptions::get(const std::string&, const char*) const;

ExtraOptions ExtraOptions::with_defaults(const std::vector<ExtraOption>& declared,
                                         const std::string& whose) const {
  ExtraOptions all;
  std::vector<std::string> known;
  for (const ExtraOption& option : declared) {
    all.set(option.name, option.value);
    known.push_back(option.name);
  }
  for (const auto& [name, value] : values_) {
    const auto option = std::ranges::find(declared, name, &ExtraOption::name);
    if (option == declared.end()) fail_usage(whose, ": no option '", name, "'", did_you_mean(name, known));
    const bool is_number = std::holds_alternative<double>(option->value) && number_in(value);
    if (value.index() != option->value.index() && !is_number)
      fail_usage(whose, ": option '", name, "' is ", type_of(option->value), ", and ", type_of(value),
                 " was given");
    check_range(*option, value, whose);
    all.set(name, is_number ? ExtraValue(*number_in(value)) : value);
  }
  return all;
}

}  // namespace espalier
