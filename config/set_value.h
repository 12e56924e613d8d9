// What the command line, or a sweep, has set in a config, and the words it was typed in.
#pragma once

#include <string>
#include <vector>

namespace espalier::schema {

/// Who sets values where nobody else says so.
inline constexpr const char* the_command_line = "on the command line";

/// A value that --set has set.
struct SetValue {
  /// A JSON pointer, and how the same was typed: "/stages/2/train", "stages.tuned.train".
  struct Step {
    std::string pointer, typed;
  };
  std::vector<Step> path;                ///< from the outermost field, "stages", to the value; never empty
  std::string where = the_command_line;  ///< it was set, for messages

  const std::string& pointer() const { return path.back().pointer; }
};

/// Whether the value at `pointer`, or what it lies in, has been set.
bool is_set(const std::string& pointer, const std::vector<SetValue>& set);
/// Where the value at `pointer`, or what it lies in, has been set: "on the command line"; empty: nowhere.
std::string where_set(const std::string& pointer, const std::vector<SetValue>& set);
/// Whether the value at `pointer`, or something in it, has been set.
bool holds_set(const std::string& pointer, const std::vector<SetValue>& set);

/// `pointer` as messages show it: in the words in which it, or what it lies in, was typed; else as it is.
std::string shown(const std::string& pointer, const std::vector<SetValue>& set);

}  // namespace espalier::schema
