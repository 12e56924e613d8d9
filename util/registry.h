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

#include "espalier/util/spelling.h"

namespace espalier {

/// How often a registry has been added to: what is made of registries once is made anew when it changes.
int64_t registrations();
/// Counts one. UsageError for a name that is taken, empty, or of more than letters, digits, '_', '-' and '.'.
void check_registration(const std::string& kind, const std::string& name,
                        const std::vector<std::string>& taken);

template <class Row>
class Registry {
 public:
  /// `kind`: what a row is in messages, "optimizer".
  Registry(std::string kind, std::vector<Row> rows)
      : kind_(std::move(kind)),
        rows_(std::make_move_iterator(rows.begin()), std::make_move_iterator(rows.end())) {}
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  /// UsageError as check_registration has it.
  void add(Row row) {
    check_registration(kind_, row.name, names());
    rows_.push_back(std::move(row));
  }

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
  std::string kind_;
  std::deque<Row> rows_;
};

}  // namespace espalier
