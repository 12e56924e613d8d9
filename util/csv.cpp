#include "espalier/util/csv.h"

namespace espalier {
namespace {

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == text.npos) return text;
  std::string inner = text;
  for (size_t at = 0; (at = inner.find('"', at)) != inner.npos; at += 2) inner.insert(at, 1, '"');
  return "\"" + inner + "\"";
}

}  // namespace

std::string csv_line(const std::vector<std::string>& fields) {
  std::string line;
  for (size_t i = 0; i < fields.size(); ++i) line += (i ? "," : "") + csv_field(fields[i]);
  return line + "\n";
}

}  // namespace espalier
