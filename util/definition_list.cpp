#include "espalier/util/definition_list.h"

#include <algorithm>

#include "espalier/util/terminal.h"

namespace espalier {
namespace {

constexpr size_t narrowest = 40, widest = 100;  // columns of a help text
constexpr size_t widest_name = 30;

}  // namespace

std::string definition_list(const std::vector<Definition>& entries, size_t width, size_t indent) {
  size_t names = 0;
  for (const Definition& entry : entries)
    if (const size_t columns = columns_of(entry.name); columns <= widest_name)
      names = std::max(names, columns);
  const size_t left = indent + names + 2;
  const std::string margin(indent, ' ');
  std::string result;
  for (const Definition& entry : entries) {
    std::string head = margin + entry.name;
    if (columns_of(head) + 2 > left) {
      result += head + "\n";
      head.clear();
    }
    const std::string text = wrapped(entry.text, std::max(width, left + 20) - left);
    if (text.empty()) result += head + "\n";
    for (const std::string_view line : lines_of(text)) {
      result += head + std::string(left - columns_of(head), ' ') + std::string(line) + "\n";
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
