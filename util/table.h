// A table for a terminal: columns as wide as they need to be, numbers to the right.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "espalier/util/terminal.h"

namespace espalier {

class Table {
 public:
  /// A title that starts with '<' makes a column of text, to the left; the sign is not shown.
  explicit Table(std::vector<std::string> titles);
  void add(std::vector<std::string> cells);
  /// These columns, from 0, go after all others where there is no room, the last of them first; column 0
  /// never goes.
  void keep(std::vector<size_t> columns) { kept_ = std::move(columns); }
  /// Lines of at most `width` columns, each ended; what is empty throughout is left out. Two spaces stand
  /// between columns; where that does not fit, one, then long texts are shortened, then columns are dropped,
  /// from the right if keep() says nothing else, but for those that still have room beside the others, and a
  /// last line says which.
  std::string str(size_t width = any_width) const;

 private:
  /// All columns but the first, in the order in which they are to have room.
  std::vector<size_t> by_rank() const;
  std::string line(const std::vector<std::string>& cells, const std::vector<size_t>& widths,
                   size_t gap) const;

  std::vector<std::string> titles_;
  std::vector<bool> left_;
  std::vector<size_t> kept_;
  std::vector<std::vector<std::string>> rows_;
};

/// 235146 as "235,146"
std::string grouped(int64_t number);
/// "image" for 1, "images" for any other number
std::string plural(int64_t number, const std::string& noun);
/// 1253376 as "1.25 MB"
std::string bytes_text(double bytes);
/// 0.25 as "0.25 s", 75 as "1:15", 4280 as "1:11:20"
std::string duration_text(double seconds);

}  // namespace espalier
