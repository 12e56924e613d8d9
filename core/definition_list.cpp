#include "espalier/core/definition_list.h"

#include <algorithm>

#include "espalier/core/terminal.h"

namespace espalier {
namespace {

constexpr size_t narrowest = 40, widest = 100;  // columns of a help text
constexpr size_t widest_name = 30;

/// The lines of `text`, without their ends.
std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

}  // namespace

std::string wrapped_lines(std::string_view text, size_t width) {
  std::string result;
  for (std::string_view line : lines_of(text)) {
    if (line.size() <= width) {
      result += std::string(line) + "\n";
      continue;
    }
    const std::string indent(std::min(line.find_first_not_of(' '), line.size()), ' ');
    std::string current;
    while (!line.empty()) {
      const size_t end = std::min(line.find(' '), line.size());
      const std::string word(line.substr(0, end));
      line.remove_prefix(std::min(end + 1, line.size()));
      if (word.empty()) continue;
      if (!current.empty() && current.size() + 1 + word.size() > width) {
        result += current + "\n";
        current.clear();
      }
      current += (current.empty() ? indent : " ") + word;
    }
    result += current + "\n";
  }
  return result;
}

std::string definition_list(const std::vector<Definition>& entries, size_t width, size_t indent) {
  size_t names = 0;
  for (const Definition& entry : entries)
    if (entry.name.size() <= widest_name) names = std::max(names, entry.name.size());
  const size_t left = indent + names + 2;
  const std::string margin(indent, ' ');
  std::string result;
  for (const Definition& entry : entries) {
    std::string head = margin + entry.name;
    if (head.size() + 2 > left) {
      result += head + "\n";
      head.clear();
    }
    const std::string text = wrapped_lines(entry.text, std::max(width, left + 20) - left);
    if (text.empty()) result += head + "\n";
    for (const std::string_view line : lines_of(text)) {
      head.resize(left, ' ');
      result += head + std::string(line) + "\n";
      head.clear();
    }
  }
  return result;
}

size_t help_width() {
  const size_t width = terminal_width();
  return width == any_width ? 80 : std::clamp(width, narrowest, widest);
}

}  // namespace espalier
