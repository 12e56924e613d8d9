// Extra options: those that only one optimizer, data set, penalty, ... has, beside the fields of all of its
// kind. Its row in the registry declares each with a default; a config then has a field of that name for it,
// with help, messages and schema:
//
//   .extra = {{.name = "rho", .help = "radius", .value = 0.05, .from = 0}}
//   ...
//   options.extra.number("rho")
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace espalier {

/// A flag, a whole number, a number or a text: what its default is, it is. 80 is a whole number, 80.0 a
/// number.
using ExtraValue = std::variant<bool, int64_t, double, std::string>;

struct ExtraOption {
  std::string name, help;
  ExtraValue value;  ///< where none is given
  /// Of numbers, both ends included.
  double from = -std::numeric_limits<double>::infinity(), to = std::numeric_limits<double>::infinity();
};

/// UsageError where a default is out of its own range.
void check_extra_options(const std::vector<ExtraOption>& declared, const std::string& whose);

class ExtraOptions {
 public:
  ExtraOptions() = default;
  ExtraOptions(std::initializer_list<std::pair<const std::string, ExtraValue>> values) : values_(values) {}

  void set(const std::string& name, ExtraValue value) { values_[name] = std::move(value); }
  const ExtraValue* find(const std::string& name) const;

  // Error where there is no such option, or one of another type.
  /// A whole number is one, too.
  double number(const std::string& name) const;
  int64_t whole(const std::string& name) const { return get<int64_t>(name, "a whole number"); }
  bool flag(const std::string& name) const { return get<bool>(name, "true or false"); }
  const std::string& text(const std::string& name) const { return get<std::string>(name, "a text"); }

  /// These, and the defaults of `declared` for the others. UsageError, with `whose` ("optimizer lion"), for
  /// one that is not declared, or has another type or is out of range.
  ExtraOptions with_defaults(const std::vector<ExtraOption>& declared, const std::string& whose) const;

  bool operator==(const ExtraOptions&) const = default;

 private:
  template <class T>
  const T& get(const std::string& name, const char* expected) const;

  std::map<std::string, ExtraValue> values_;
};

}  // namespace espalier
