// Registry: all that one name in a config may stand for: the optimizers, the criteria, the data sets, ...
// Espalier's own come first. A program that links the library adds its own as main begins, and configs, help,
// messages and the JSON Schema know them from then on (docs/library.md):
//
//   optimizers().add({.name = "lion", .help = "...", .make = ...});
//
// A row is a struct with a member `name`. Registries are read from any thread, and added to before other
// threads run.
#pragma once

#include <algorithm>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "espalier/util/extra_options.h"
#include "espalier/util/spelling.h"

namespace espalier {

/// How often a registry has been added to: what is made of registries once is made anew when it changes.
int64_t registrations();
/// Counts one. UsageError for a name that is taken, empty, or of more than letters, digits, '_', '-' and '.'.
void check_registration(const std::string& kind, const std::string& name,
                        const std::vector<std::string>& taken);

/// UsageError.
[[noreturn]] void fail_row(const std::string& what);

template <class Row>
class Registry {
 public:
  /// `kind`: what a row is in messages, "optimizer".
  Registry(std::string kind, std::vector<Row> rows)
      : kind_(std::move(kind)),
        rows_(std::make_move_iterator(rows.begin()), std::make_move_iterator(rows.end())) {}
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  /// UsageError as check_registration has it, for a row without its function, and for an extra option whose
  /// default is not in its range.
  void add(Row row) {
    check_registration(kind_, row.name, names());
    check_row(row);
    rows_.push_back(std::move(row));
  }

  const std::string& kind() const { return kind_; }

  /// The row of that name, or null. It stays where it is, whatever is added.
  const Row* find(const std::string& name) const {
    const auto row = std::ranges::find_if(rows_, [&](const Row& one) { return one.name == name; });
    return row == rows_.end() ? nullptr : &*row;
  }
  /// UsageError "optimizer: no type 'adm', did you mean 'adam'?" where there is none.
  const Row& named(const std::string& name) const {
    const Row* row = find(name);
    if (!row) fail_no_type(kind_.c_str(), name, names());
    return *row;
  }

  std::vector<std::string> names() const {
    return names_where([](const Row&) { return true; });
  }
  template <class Which>
  std::vector<std::string> names_where(const Which& which) const {
    std::vector<std::string> names;
    for (const Row& row : rows_)
      if (which(row)) names.push_back(row.name);
    return names;
  }
  /// Of those whose `options`, the names of fields that concern them, hold `option`.
  std::vector<std::string> names_with(const std::string& option) const {
    return names_where([&](const Row& row) { return std::ranges::count(row.options, option) > 0; });
  }

  auto begin() const { return rows_.begin(); }
  auto end() const { return rows_.end(); }

 private:
  void check_row(const Row& row) const {
    const std::string whose = kind_ + " " + row.name;
    const auto check = [&](const char* name, bool is_there) {
      if (!is_there) fail_row(whose + ": has no " + name);
    };
    if constexpr (requires { row.make; }) check("make", static_cast<bool>(row.make));
    if constexpr (requires { row.load; }) check("load", static_cast<bool>(row.load));
    if constexpr (requires { row.rate; }) check("rate", static_cast<bool>(row.rate));
    if constexpr (requires { row.score; }) check("score", static_cast<bool>(row.score));
    if constexpr (requires { row.spread; }) check("spread", static_cast<bool>(row.spread));
    if constexpr (requires { row.run; }) check("run", static_cast<bool>(row.run));
    if constexpr (requires { row.extra; }) check_extra_options(row.extra, whose);
  }

  std::string kind_;
  std::deque<Row> rows_;
};

}  // namespace espalier
