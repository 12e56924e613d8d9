// nlohmann's parser drives a builder of our own by events: it sees depth and repeated names as they come, and
// knows what could have stood where the text goes wrong.
#include "espalier/config/json.h"

#include <algorithm>
#include <cctype>
#include <sstream>
#include <unordered_set>

#include "espalier/util/error.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t most_shown = 80;  // bytes of a foreign name or text in a message

bool is_in_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' || c == '+';
}

/// Of UTF-8: not the first of its bytes.
bool is_inside_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Where the text begins that the character at `offset` lies in or ends; npos if in none. All before it is
/// JSON.
size_t text_start(std::string_view json, size_t offset) {
  size_t start = json.npos;
  for (size_t at = 0; at < offset; ++at) {
    if (json[at] == '"')
      start = start == json.npos ? at : json.npos;
    else if (json[at] == '\\' && start != json.npos)
      ++at;  // what it escapes
  }
  return start;
}

/// The first character of the text, number or word whose last character is at `end`.
size_t token_start(std::string_view json, size_t end) {
  size_t start = end;
  if (json[end] == '"') {
    const size_t quote = text_start(json, end);
    return quote == json.npos ? end : quote;
  }
  if (!is_in_word(json[end])) return end;
  while (start > 0 && is_in_word(json[start - 1])) --start;
  return start;
}

/// What is wrong inside of a text, whose character at `offset` cannot stand there.
std::string broken_text(std::string_view json, size_t offset) {
  const auto byte = [&](size_t at) { return static_cast<unsigned char>(json[at]); };
  if (byte(offset) >= 0x80 || (offset > 0 && byte(offset - 1) >= 0x80)) return "bytes that are not UTF-8";
  if (byte(offset) < 0x20) return "a line break or another control character inside of a text";
  return "a \\ in a text that begins no escape of JSON's";
}

class Builder : public Json::json_sax_t {
 public:
  Builder(std::string_view text, const std::string& file)
      : text_(text), in_{std::string(text)}, file_(file) {}

  Json build() && {
    Json::sax_parse(in_, this);
    return std::move(root_);
  }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(int64_t value) override { return add(value); }
  bool number_unsigned(uint64_t value) override { return add(value); }
  bool number_float(double value, const std::string&) override { return add(value); }
  bool string(std::string& value) override { return add(std::move(value)); }
  bool binary(Json::binary_t&) override { return false; }  // text has none

  bool start_object(size_t) override { return open(Json::object()); }
  bool start_array(size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(std::string& key) override {
    if (!open_.back().names.insert(key).second)
      fail_at(token_start(text_, last_read()), "\"", printable(key, most_shown),
              "\" is given twice in one object");
    key_ = std::move(key);
    has_key_ = true;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    const size_t last = position > 0 ? position - 1 : 0;  // the last character that was read
    if (last >= text_.size())
      fail_at(text_.size(),
              "not JSON: the text ends before the JSON does: a bracket, brace or quote is not closed");
    const bool too_large = dynamic_cast<const nlohmann::detail::out_of_range*>(&error);
    if (too_large) fail_at(token_start(text_, last), "a number that is too large");
    if (text_[last] != '"' && text_start(text_, last) != text_.npos)
      fail_at(last, "not JSON: ", broken_text(text_, last));
    const size_t offset = token_start(text_, last);
    fail_at(offset, "not JSON: ", misplaced(offset));
  }

 private:
  struct Open {
    Json* value;
    std::unordered_set<std::string> names = {};  ///< of an object's fields so far
  };

  /// The offset of the last character that was read.
  size_t last_read() { return text_.size() - static_cast<size_t>(in_.rdbuf()->in_avail()) - 1; }

  template <class... Parts>
  [[noreturn]] void fail_at(size_t offset, const Parts&... parts) const {
    fail(file_, ":", line_and_column(text_, offset), ": ", parts...);
  }

  Json* put(Json&& value) {
    if (open_.empty()) {
      root_ = std::move(value);
      has_root_ = true;
      return &root_;
    }
    Json& into = *open_.back().value;
    if (into.is_array()) {
      into.push_back(std::move(value));
      return &into.back();
    }
    has_key_ = false;
    auto& fields = into.get_ref<Json::object_t&>();  // a vector: what is new goes to its end unsought
    fields.emplace_back(std::move(key_), std::move(value));
    return &fields.back().second;
  }

  bool add(Json&& value) {
    put(std::move(value));
    return true;
  }

  bool open(Json&& value) {
    if (open_.size() == deepest_json)
      fail_at(last_read(), "more than ", deepest_json, " lists and objects inside of each other");
    open_.push_back({put(std::move(value))});
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  /// What the parser could have gone on with after the last character that is no space before `offset`.
  std::string expected(size_t offset) const {
    if (open_.empty()) return has_root_ ? "the end of the text" : "a value";
    const size_t before = text_.find_last_not_of(" \t\r\n", offset - 1);
    const char last = text_[before];
    if (open_.back().value->is_array())
      return last == '[' ? "a value or ']'" : last == ',' ? "a value" : "',' or ']'";
    if (has_key_) return last == ':' ? "a value" : "':'";
    return last == '{' ? "a name in quotes or '}'" : last == ',' ? "a name in quotes" : "',' or '}'";
  }

  /// Whether a number stands before `offset` that ends in no digit.
  bool breaks_off(size_t offset) const {
    if (offset == 0 || !is_in_word(text_[offset - 1]) || is_digit(text_[offset - 1])) return false;
    const char first = text_[token_start(text_, offset - 1)];
    return is_digit(first) || first == '-';
  }

  /// What is wrong at `offset`, where something begins that cannot stand there.
  std::string misplaced(size_t offset) const {
    const char c = text_[offset];
    if (c == '#') return "JSON has no comments that begin with #";
    if (text_.substr(offset).starts_with("//") || text_.substr(offset).starts_with("/*"))
      return "JSON has no comments";
    if (c == '\'') return "JSON quotes with \", not with '";
    if (breaks_off(offset)) return "a number that breaks off";
    const std::string wanted = expected(offset);
    if ((c == '}' || c == ']') && !open_.empty() && (wanted == "a value" || wanted == "a name in quotes") &&
        text_[text_.find_last_not_of(" \t\r\n", offset - 1)] == ',')
      return join("a comma before '", c, "'");
    if (c == '"' && (wanted.starts_with("a ")))  // it is welcome, so what is in it is not
      return "a \\ in a text that begins no escape of JSON's";
    size_t end = offset + 1;
    const auto goes_on = is_in_word(c) ? is_in_word : is_inside_character;
    while (end < text_.size() && goes_on(text_[end])) ++end;
    const std::string_view word = text_.substr(offset, end - offset);
    return join("found ", c == '"' ? "a text" : join("'", printable(word, most_shown), "'"), ", expected ",
                wanted);
  }

  std::string_view text_;
  std::istringstream in_;
  const std::string& file_;
  Json root_;
  bool has_root_ = false, has_key_ = false;
  std::string key_;  ///< of the value that comes next
  std::vector<Open> open_;
};

[[noreturn]] void unexpected(const Json& found, const std::string& place, const std::string& expected) {
  fail(place, ": found ", in_words(found), ", expected ", expected);
}

}  // namespace

Json parse_json(std::string_view text, const std::string& file) {
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos)
    fail(file, ": empty, expected a JSON object");
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos)  // to the parser it is the end
    fail(file, ":", line_and_column(text, zero), ": not JSON: a zero byte");
  return Builder(text, file).build();
}

std::string line_and_column(std::string_view text, size_t offset) {
  const std::string_view before = text.substr(0, offset);
  const size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  return join(std::count(before.begin(), before.end(), '\n') + 1, ":", before.size() - line_start + 1);
}

std::string json_place(const std::string& place, std::string_view key) {
  return join(place, place.find(": /") == place.npos ? ": /" : "/", printable(key, most_shown));
}

std::string in_words(const Json& found) {
  if (found.is_object()) return "an object";
  if (found.is_array()) return join("a list of ", found.size());
  if (found.is_string())
    return "the text \"" + printable(found.get_ref<const std::string&>(), most_shown) + "\"";
  return found.dump();
}

namespace detail {

void read_json(const Json& json, const std::string&, Json& value) { value = json; }

void read_json(const Json& json, const std::string& place, bool& value) {
  if (!json.is_boolean()) unexpected(json, place, "true or false");
  value = json.get<bool>();
}

void read_json(const Json& json, const std::string& place, double& value) {
  if (!json.is_number()) unexpected(json, place, "a number");
  value = json.get<double>();
}

void read_json(const Json& json, const std::string& place, std::string& value) {
  if (!json.is_string()) unexpected(json, place, "text");
  value = json.get<std::string>();
}

int64_t whole_json(const Json& json, const std::string& place, int64_t min_value, int64_t max_value) {
  const bool fits = !json.is_number_unsigned() || json.get<uint64_t>() <= std::numeric_limits<int64_t>::max();
  if (!json.is_number_integer() || !fits || json.get<int64_t>() < min_value ||
      json.get<int64_t>() > max_value)
    unexpected(json, place, join("a whole number from ", min_value, " to ", max_value));
  return json.get<int64_t>();
}

void check_list(const Json& json, const std::string& place) {
  if (!json.is_array()) unexpected(json, place, "a list");
}

void check_object(const Json& json, const std::string& place) {
  if (!json.is_object()) unexpected(json, place, "an object");
}

const Json& field_of(const Json& object, const char* name, const std::string& place) {
  check_object(object, place);
  const auto found = object.find(name);
  if (found == object.end()) fail(json_place(place, name), ": missing");
  return *found;
}

}  // namespace detail

int64_t json_count(const Json& object, const char* name, const std::string& place) {
  return detail::whole_json(detail::field_of(object, name, place), json_place(place, name), 0,
                            (int64_t{1} << 53) - 1);
}
}  // namespace espalier
