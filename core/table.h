// A table for a terminal: columns as wide as they need to be, numbers to the right.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace espalier {

class Table {
 public:
  /// A title that starts with '<' makes a column of text, to the left; the sign is not shown.
  explicit Table(std::vector<std::string> titles);
  void add(std::vector<std::string> cells);
  /// Lines, each ended; columns that are empty throughout are left out. Two spaces stand between columns, one
  /// where that would not fit 80.
  std::string str() const;

 private:
  std::vector<std::string> titles_;
  std::vector<bool> left_;
  std::vector<std::vector<std::string>> rows_;
};

/// 235146 as "235,146"
std::string grouped(int64_t number);
/// 1253376 as "1.25 MB"
std::string bytes_text(double bytes);
/// 0.25 as "0.25 s", 75 as "1:15", 3675 as "1:01:15"
std::string duration_text(double seconds);

}  // namespace espalier
