#include "espalier/config/lost_quotes.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "espalier/config/plain_json.h"
#include "espalier/util/shell_word.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view blank = " \t\n\r", structure = "{}[],:";

bool is_one_of(char c, std::string_view characters) { return characters.find(c) != characters.npos; }

/// Where the word at `begin` ends, without the blanks that follow it.
size_t end_of_word(std::string_view json, size_t begin) {
  size_t end = std::min(json.find_first_of(structure, begin), json.size());
  while (is_one_of(json[end - 1], blank)) --end;
  return end;
}

bool is_name(std::string_view json, size_t end) {
  const size_t next = json.find_first_not_of(blank, end);
  return next != json.npos && json[next] == ':';
}

}  // namespace

std::optional<std::string> with_quotes(std::string_view text) {
  if (!is_utf8(text)) return std::nullopt;
  std::string json;
  for (size_t at = 0; at < text.size();) {
    if (is_one_of(text[at], structure) || is_one_of(text[at], blank)) {
      json += text[at++];
      continue;
    }
    const bool quoted = text[at] == '"';
    const size_t end = quoted ? end_of_text(text, at) : end_of_word(text, at);
    const std::string word(text.substr(at, end - at));
    json += quoted || (Json::accept(word) && !is_name(text, end)) ? word : Json(word).dump();
    at = end;
  }
  if (!Json::accept(json)) return std::nullopt;
  return json;
}

std::optional<std::string> lost_quotes(const std::string& path, const std::vector<std::string>& values) {
  std::string all;
  for (const std::string& value : values) all += (all.empty() ? "" : ",") + value;
  const bool whole = values.size() == 1 && (all.starts_with("{") || all.starts_with("["));
  if (!whole) {
    if (all.find(':') == all.npos) return std::nullopt;
    all = "{" + all + "}";
  }
  const auto json = with_quotes(all);
  if (!json) return std::nullopt;
  return "--set " + shell_word(path + "=" + *json);
}

std::optional<std::string> lost_quotes_in(const std::vector<std::string>& arguments,
                                          const std::string& extra) {
  const std::string path = extra.substr(0, extra.find('='));
  if (path == extra || path.empty()) return std::nullopt;
  std::vector<std::string> values;
  for (std::string_view argument : arguments) {
    if (argument.starts_with("--set=")) argument.remove_prefix(6);
    if (argument.starts_with(path + "=")) values.emplace_back(argument.substr(path.size() + 1));
  }
  if (values.size() < 2) return std::nullopt;
  return lost_quotes(path, values);
}

}  // namespace espalier
