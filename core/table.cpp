#include "espalier/core/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

namespace espalier {

Table::Table(std::vector<std::string> titles) : titles_(std::move(titles)) {
  for (std::string& title : titles_) {
    left_.push_back(title.starts_with('<'));
    if (left_.back()) title.erase(0, 1);
  }
}

void Table::add(std::vector<std::string> cells) {
  cells.resize(titles_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::str() const {
  std::vector<size_t> widths(titles_.size(), 0);  // 0: nothing in it
  for (const auto& row : rows_)
    for (size_t c = 0; c < row.size(); ++c)
      if (!row[c].empty()) widths[c] = std::max({widths[c], row[c].size(), titles_[c].size()});
  size_t total = 0, columns = 0;
  for (size_t width : widths) total += width, columns += width > 0;
  const std::string gap(total + 2 * columns > 82 ? 1 : 2, ' ');
  std::string text;
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string row;
    for (size_t c = 0; c < cells.size(); ++c) {
      if (!widths[c]) continue;
      if (!row.empty()) row += gap;
      row +=
          left_[c] ? fmt::format("{:<{}}", cells[c], widths[c]) : fmt::format("{:>{}}", cells[c], widths[c]);
    }
    row.erase(row.find_last_not_of(' ') + 1);
    text += row + "\n";
  };
  line(titles_);
  for (const auto& row : rows_) line(row);
  return text;
}

std::string grouped(int64_t number) {
  std::string digits = std::to_string(number < 0 ? -number : number);
  for (int64_t at = static_cast<int64_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<size_t>(at), ",");
  return number < 0 ? "-" + digits : digits;
}

std::string bytes_text(double bytes) {
  if (bytes < 1e3) return fmt::format("{:.0f} B", bytes);
  if (bytes < 1e6) return fmt::format("{:.3g} kB", bytes / 1e3);
  if (bytes < 1e9) return fmt::format("{:.3g} MB", bytes / 1e6);
  if (bytes < 1e12) return fmt::format("{:.3g} GB", bytes / 1e9);
  return fmt::format("{:.1f} TB", bytes / 1e12);
}

std::string duration_text(double seconds) {
  if (seconds < 59.5) return fmt::format("{:.2g} s", seconds);
  const auto s = static_cast<int64_t>(seconds + 0.5);
  return s < 3600 ? fmt::format("{}:{:02}", s / 60, s % 60)
                  : fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

}  // namespace espalier
