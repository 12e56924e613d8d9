// A strict reading of JSON by nlohmann, whose messages are made short and placed.
#include "espalier/train/json_text.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <sstream>

#include "espalier/core/error.h"

namespace espalier {
namespace {

using Json = nlohmann::ordered_json;

/// "12:5": line and column, both from 1, of the character at `offset`.
std::string line_and_column(const std::string& text, size_t offset) {
  const std::string before = text.substr(0, offset);
  const size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  return join(std::count(before.begin(), before.end(), '\n') + 1, ":", before.size() - line_start + 1);
}

bool is_in_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' || c == '+';
}

/// The first character of the token (text, number or word) whose last character is at `end`.
size_t token_start(const std::string& text, size_t end) {
  if (end >= text.size()) return end;
  size_t start = end;
  if (text[end] == '"') {
    do {
      if (start == 0) return end;
      --start;
    } while (text[start] != '"' || (start > 0 && text[start - 1] == '\\'));
    return start;
  }
  while (is_in_word(text[start]) && start > 0 && is_in_word(text[start - 1])) --start;
  return start;
}

/// What is wrong at `offset`; `reason` is the parser's own account.
std::string explain(const std::string& text, size_t offset, const std::string& reason) {
  if (offset >= text.size())
    return "the text ends before the JSON does: a bracket, brace or quote is not closed";
  const char c = text[offset];
  if (c == '#' || c == '/') return "JSON has no comments";
  if (c == '\'') return "JSON quotes with \", not with '";
  if (c == '}' || c == ']') {
    const size_t before = text.find_last_not_of(" \t\r\n", offset ? offset - 1 : 0);
    if (before < offset && text[before] == ',') return join("a comma before '", c, "'");
  }
  return reason;
}

}  // namespace

Json parse_json(const std::string& text, const std::string& file) {
  if (text.find_first_not_of(" \t\r\n") == std::string::npos)
    fail_usage(file, ": empty, expected a JSON object");
  std::istringstream in(text);
  const auto last_read = [&] { return text.size() - static_cast<size_t>(in.rdbuf()->in_avail()) - 1; };
  const auto fail_at = [&](size_t offset, const auto&... parts) {
    fail_usage(file, ":", line_and_column(text, offset), ": ", parts...);
  };

  std::vector<std::set<std::string>> names;  // of each object that is open
  const auto refuse_twice = [&](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) names.emplace_back();
    if (event == Json::parse_event_t::object_end) names.pop_back();
    if (event == Json::parse_event_t::key && !names.back().insert(parsed.get<std::string>()).second) {
      fail_at(token_start(text, last_read()), parsed.dump(), " is given twice in one object");
    }
    return true;
  };

  try {
    return Json::parse(in, refuse_twice);
  } catch (const Json::parse_error& error) {
    // "[...] syntax error while parsing value - REASON; last read: '...'; expected ..."
    std::string reason = error.what();
    if (const size_t at = reason.find(" - "); at != std::string::npos) reason = reason.substr(at + 3);
    if (const size_t at = reason.find("; last read: "); at != std::string::npos) {
      const size_t expected = reason.rfind("; expected ");
      reason = reason.substr(0, at) +
               (expected != std::string::npos && expected > at ? reason.substr(expected) : "");
    }
    const size_t offset = token_start(text, error.byte ? error.byte - 1 : 0);
    fail_at(offset, "not JSON: ", explain(text, offset, reason));
  } catch (const Json::out_of_range&) {
    size_t end = last_read();  // of the number, or behind it: its reader looks one character ahead
    if (!is_in_word(text[end])) --end;
    fail_at(token_start(text, end), "a number that is too large");
  }
  throw;  // not reached: fail_at throws
}

}  // namespace espalier
