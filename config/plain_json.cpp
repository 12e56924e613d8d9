#include "espalier/config/plain_json.h"

#include <algorithm>

#include "espalier/config/json.h"
#include "espalier/util/error.h"

namespace espalier {
namespace {

/// After the comment that begins at `start`; npos where it is not closed.
size_t end_of_comment(std::string_view json, size_t start) {
  if (json[start + 1] == '/') return std::min(json.find('\n', start), json.size());
  const size_t end = json.find("*/", start + 2);
  return end == json.npos ? json.npos : end + 2;
}

bool begins_comment(std::string_view json, size_t at) {
  return json[at] == '/' && at + 1 < json.size() && (json[at + 1] == '/' || json[at + 1] == '*');
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

}  // namespace

size_t end_of_text(std::string_view json, size_t start) {
  for (size_t at = start + 1; at < json.size(); ++at) {
    if (json[at] == '"') return at + 1;
    if (json[at] == '\\') ++at;  // what it escapes
  }
  return json.size();
}

std::string plain_json(std::string_view text, const std::string& file) {
  constexpr size_t none = std::string_view::npos;
  std::string plain(text);
  char last = '{';      // that is no space, so far
  size_t comma = none;  // it, if it is a comma after a value
  for (size_t at = 0; at < text.size();) {
    if (begins_comment(text, at)) {
      const size_t end = end_of_comment(text, at);
      if (end == none) fail(file, ":", line_and_column(text, at), ": not JSON: a comment that no */ closes");
      std::replace_if(
          plain.begin() + static_cast<ptrdiff_t>(at), plain.begin() + static_cast<ptrdiff_t>(end),
          [](char c) { return !is_space(c); }, ' ');
      at = end;
      continue;
    }
    const char c = text[at];
    if (!is_space(c)) {
      if ((c == '}' || c == ']') && comma != none) plain[comma] = ' ';
      const bool behind_value = last != '{' && last != '[' && last != ',' && last != ':';
      comma = c == ',' && behind_value ? at : none;
      last = c;
    }
    at = c == '"' ? end_of_text(text, at) : at + 1;
  }
  return plain;
}

}  // namespace espalier
