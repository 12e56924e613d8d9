#include "espalier/util/table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

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

std::vector<size_t> Table::by_rank() const {
  std::vector<size_t> ranked = kept_;
  for (size_t c = 0; c < titles_.size(); ++c)
    if (std::ranges::find(kept_, c) == kept_.end()) ranked.push_back(c);
  std::erase(ranked, 0);
  return ranked;
}

std::string Table::line(const std::vector<std::string>& cells, const std::vector<size_t>& widths,
                        size_t gap) const {
  std::string row;
  for (size_t c = 0; c < cells.size(); ++c) {
    if (!widths[c]) continue;
    if (!row.empty()) row.append(gap, ' ');
    const std::string cell = left_[c] ? shortened(cells[c], widths[c]) : cells[c];
    const std::string blank(widths[c] - columns_of(cell), ' ');
    row += left_[c] ? cell + blank : blank + cell;
  }
  row.erase(row.find_last_not_of(' ') + 1);
  return row + "\n";
}

std::string Table::str(size_t width) const {
  std::vector<size_t> widths(titles_.size(), 0);  // 0: nothing in it, or not shown
  for (const auto& row : rows_)
    for (size_t c = 0; c < row.size(); ++c)
      if (!row[c].empty()) widths[c] = std::max({widths[c], columns_of(row[c]), columns_of(titles_[c])});
  const auto total = [&](size_t gap) {
    size_t sum = 0;
    for (const size_t each : widths) sum += each ? each + (sum ? gap : 0) : 0;
    return sum;
  };
  const size_t gap = total(2) <= width ? 2 : 1;
  if (total(gap) > width) {
    const size_t max_width = std::max<size_t>(24, width / 3);  // of a column of text
    for (size_t c = 0; c < widths.size(); ++c)
      if (left_[c]) widths[c] = std::min(widths[c], max_width);
  }
  const std::vector<size_t> wanted = widths;
  const std::vector<size_t> ranked = by_rank();
  for (size_t i = ranked.size(); i-- > 0 && total(gap) > width;) widths[ranked[i]] = 0;
  for (const size_t c : ranked) {  // where a wide one has gone, narrower ones may have room
    if (widths[c]) continue;
    widths[c] = wanted[c];
    if (total(gap) > width) widths[c] = 0;
  }
  std::vector<std::string> dropped;
  for (size_t c = 1; c < titles_.size(); ++c)
    if (widths[c] != wanted[c] && !titles_[c].empty()) dropped.push_back(titles_[c]);
  if (total(gap) > width && left_[0]) widths[0] = width;

  std::string text = line(titles_, widths, gap);
  for (const auto& row : rows_) text += line(row, widths, gap);
  if (!dropped.empty()) text += wrapped(fmt::format("no room for: {}", fmt::join(dropped, ", ")), width);
  return text;
}

std::string grouped(int64_t number) {
  std::string digits = std::to_string(number < 0 ? -number : number);
  for (int64_t at = static_cast<int64_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<size_t>(at), ",");
  return number < 0 ? "-" + digits : digits;
}

std::string plural(int64_t number, const std::string& noun) { return number == 1 ? noun : noun + "s"; }

std::string bytes_text(double bytes) {
  if (bytes < 1e3) return fmt::format("{:.0f} B", bytes);
  if (bytes < 1e6) return fmt::format("{:.3g} kB", bytes / 1e3);
  if (bytes < 1e9) return fmt::format("{:.3g} MB", bytes / 1e6);
  if (bytes < 1e12) return fmt::format("{:.3g} GB", bytes / 1e9);
  return fmt::format("{:.1f} TB", bytes / 1e12);
}

std::string duration_text(double seconds) {
  if (seconds < 59.5) return fmt::format("{:.2g} s", seconds);
  const auto s = static_cast<int64_t>(std::min(seconds, 1e15) + 0.5);
  return s < 3600 ? fmt::format("{}:{:02}", s / 60, s % 60)
                  : fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

}  // namespace espalier
