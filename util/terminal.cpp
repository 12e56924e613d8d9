#include "espalier/util/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

namespace espalier {

size_t terminal_width() {
  if (isatty(STDOUT_FILENO) != 1) return any_width;
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

bool shows_colour(int stream) {
  const char* unwanted = std::getenv("NO_COLOR");
  if (unwanted && *unwanted) return false;
  const char* terminal = std::getenv("TERM");
  return terminal && std::string_view(terminal) != "dumb" && isatty(stream) == 1;
}

std::string coloured(const std::string& text, Colour colour, int stream) {
  if (!shows_colour(stream)) return text;
  return (colour == Colour::red ? "\x1b[1;31m" : "\x1b[33m") + text + "\x1b[0m";
}

namespace {

struct Range {
  char32_t first, last;
};
/// Blocks of marks on the character before (Unicode 15, general category Mn, those that names meet with).
constexpr std::array marks{Range{0x300, 0x36F},   Range{0x1AB0, 0x1AFF}, Range{0x1DC0, 0x1DFF},
                           Range{0x200B, 0x200F}, Range{0x20D0, 0x20FF}, Range{0xFE00, 0xFE0F},
                           Range{0xFE20, 0xFE2F}};
/// Blocks of wide characters (Unicode 15, East Asian width W and F).
constexpr std::array wide{Range{0x1100, 0x115F},   Range{0x2E80, 0x303E},   Range{0x3041, 0xA4CF},
                          Range{0xA960, 0xA97F},   Range{0xAC00, 0xD7A3},   Range{0xF900, 0xFAFF},
                          Range{0xFE30, 0xFE6F},   Range{0xFF00, 0xFF60},   Range{0xFFE0, 0xFFE6},
                          Range{0x1F300, 0x1F64F}, Range{0x1F680, 0x1F6FF}, Range{0x1F900, 0x1F9FF},
                          Range{0x20000, 0x3FFFD}};

/// Takes a character from the front of `text`, which is UTF-8, and says its columns.
size_t take_character(std::string_view& text) {
  const auto first = static_cast<unsigned char>(text[0]);
  const size_t bytes = std::min<size_t>(first < 0xC0   ? 1
                                        : first < 0xE0 ? 2
                                        : first < 0xF0 ? 3
                                                       : 4,
                                        text.size());
  char32_t code = bytes == 1 ? first : first & (0xFFu >> (bytes + 1));
  for (size_t i = 1; i < bytes; ++i) code = code << 6 | (static_cast<unsigned char>(text[i]) & 0x3Fu);
  text.remove_prefix(bytes);
  const auto holds = [&](const Range& range) { return code >= range.first && code <= range.last; };
  if (std::ranges::any_of(marks, holds)) return 0;
  return std::ranges::any_of(wide, holds) ? 2 : 1;
}

}  // namespace

size_t columns_of(std::string_view text) {
  size_t columns = 0;
  while (!text.empty()) columns += take_character(text);
  return columns;
}

std::string cut_to(std::string_view text, size_t columns) {
  std::string_view rest = text;
  while (!rest.empty()) {
    std::string_view after = rest;
    const size_t needed = take_character(after);
    if (needed > columns) break;
    columns -= needed;
    rest = after;
  }
  return std::string(text.substr(0, text.size() - rest.size()));
}

std::string shortened(const std::string& text, size_t columns) {
  const size_t whole = columns_of(text);
  if (whole <= columns) return text;
  if (columns <= 2) return cut_to(text, columns);
  const std::string head = cut_to(text, (columns - 2) / 2);
  std::string_view tail = text;
  for (size_t left = whole; left > columns - 2 - columns_of(head);) left -= take_character(tail);
  return head + ".." + std::string(tail);
}

std::string fitted(const std::vector<std::string>& fields, size_t columns) {
  std::string line;
  for (const std::string& field : fields) {
    if (line.empty()) {
      line = shortened(field, columns);
      continue;
    }
    if (columns_of(line) + 2 + columns_of(field) > columns) break;
    line += "  " + field;
  }
  return line;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::string wrapped(std::string_view text, size_t columns) {
  std::string result;
  for (std::string_view line : lines_of(text)) {
    if (columns_of(line) <= columns) {
      result += std::string(line) + "\n";
      continue;
    }
    const std::string indent(std::min(line.find_first_not_of(' '), line.size()), ' ');
    std::string current;
    while (!line.empty()) {
      const size_t end = std::min(line.find(' '), line.size());
      const std::string_view word = line.substr(0, end);
      line.remove_prefix(std::min(end + 1, line.size()));
      if (word.empty()) continue;
      if (!current.empty() && columns_of(current) + 1 + columns_of(word) > columns) {
        result += current + "\n";
        current.clear();
      }
      current += (current.empty() ? indent : " ") + std::string(word);
    }
    result += current + "\n";
  }
  return result;
}

}  // namespace espalier
