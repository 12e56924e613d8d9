#include "espalier/util/extra_options.h"

#include <algorithm>

#include "espalier/util/error.h"
#include "espalier/util/spelling.h"

namespace espalier {

const ExtraValue* ExtraOptions::find(const std::string& name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? nullptr : &found->second;
}

template <class T>
const T& ExtraOptions::get(const std::string& name, const char* expected) const {
  const ExtraValue* value = find(name);
  ESP_CHECK(value, "no option '", name, "' has been declared");
  const T* held = std::get_if<T>(value);
  ESP_CHECK(held, "option '", name, "' is not ", expected);
  return *held;
}
template const double& ExtraOptions::get(const std::string&, const char*) const;
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
    if (value.index() != option->value.index())
      fail_usage(whose, ": option '", name, "' is of another type than its default");
    const double* real = std::get_if<double>(&value);
    const int64_t* whole = std::get_if<int64_t>(&value);
    const double number = real ? *real : whole ? static_cast<double>(*whole) : option->from;
    if (number < option->from || number > option->to)
      fail_usage(whose, ": ", name, ": found ", number, ", expected from ", option->from, " to ", option->to);
    all.set(name, value);
  }
  return all;
}

}  // namespace espalier
