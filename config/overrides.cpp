// Walks a path through the config and its description at once.
#include "espalier/config/overrides.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "espalier/config/json.h"
#include "espalier/config/lost_quotes.h"
#include "espalier/config/plain_json.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

using schema::Description;
using schema::FieldDescription;
using schema::Json;
using schema::Place;
using schema::SetValue;

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

/// What a part of a JSON pointer stands for.
std::string unescaped(const std::string& part) { return replaced(replaced(part, "~1", "/"), "~0", "~"); }

std::optional<size_t> number_in(const std::string& text) {
  size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// The `name` of a list's element, if it has one.
std::optional<std::string> name_of(const Json& element) {
  if (!element.is_object() || !element.contains("name") || !element["name"].is_string()) return std::nullopt;
  return element["name"].get<std::string>();
}

/// A pointer after element `index` of the list at `list` has been taken away; nothing if it was in that.
std::optional<std::string> without_element(const std::string& pointer, const std::string& list,
                                           size_t index) {
  if (!pointer.starts_with(list + "/")) return pointer;
  const std::string inside = pointer.substr(list.size() + 1);
  const size_t end = std::min(inside.find('/'), inside.size());
  const size_t at = number_in(inside.substr(0, end)).value_or(0);
  if (at == index) return std::nullopt;
  return list + "/" + std::to_string(at - (at > index)) + inside.substr(end);
}

/// "sparsity 0.9"
std::string with_value(const std::string& name, const Json& value) {
  return name + " " + printable(value.dump(-1, ' ', false, Json::error_handler_t::replace), 60);
}

/// One --set, applied.
class Override {
 public:
  Override(size_t which, Overrides& done) : assignment_(done.given[which]), done_(done) {
    const size_t equals = assignment_.find('=');
    if (equals == std::string::npos || equals == 0) fail("expected path.to.field=value");
    path_ = rest_ = assignment_.substr(0, equals);
    text_ = assignment_.substr(equals + 1);
    if (!path_.starts_with('/')) return;
    separator_ = '/';
    rest_.erase(0, 1);
    if (rest_.empty()) fail("expected /path/to/field=value");
  }

  void apply(Json& root, const Description& description) {
    const Json before = root;
    Json* value = walk(root, description);
    Json given = parse_value();
    if (!given.is_null()) {
      *value = std::move(given);
      done_.set.push_back({steps_, done_.where});
      if (object_type_) replace_others();
    } else if (added_) {
      root = before;  // there was nothing to take away
    } else if (object_type_) {
      container_->erase(name_);
      done_.set.push_back({steps_, done_.where});
    } else {
      take_element_away();
    }
  }

 private:
  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    fail_usage("--set ", printable(assignment_), ": ", typed_, typed_.empty() ? "" : ": ", parts...);
  }

  /// To the value that the path names; objects on the way are added, and lists that
  /// are to have one more.
  Json* walk(Json& root, const Description& description) {
    Json* value = &root;
    type_ = &description;
    while (!rest_.empty()) {
      container_ = value;
      if (type_->element) {
        const bool adds = rest_ == "+" || rest_.starts_with(std::string("+") + separator_);
        if (value->is_null() && adds) *value = Json::array();
        if (!value->is_array()) fail("there is no list here in the config");
        index_ = take_index(*value);
        object_type_ = nullptr;
        value = &(*value)[index_];
        type_ = type_->element.get();
      } else {
        if (!type_->is_object())
          fail("is ", type_->expected, ", which has no field '", printable(rest_), "'");
        if (value->is_null()) {
          *value = Json::object();
          added_ = true;
        }
        if (!value->is_object()) fail("there is no object here in the config");
        const bool is_map = type_->values != nullptr;  // whose names may hold dots
        const std::string key = is_map ? std::exchange(rest_, {}) : take_key();
        enter(key, key);
        const FieldDescription* field = is_map ? nullptr : type_->find(key);
        if (!field && !is_map) fail(unknown_field(key, *type_));
        object_type_ = type_;
        name_ = key;
        value = &(*value)[key];
        type_ = is_map ? type_->values.get() : field->type.get();
      }
    }
    return value;
  }

  /// The part of the path before its first separator; `rest_` keeps what follows it.
  std::string take_key() {
    const size_t end = rest_.find(separator_);
    if (end == 0 || end + 1 == rest_.size())
      fail("the path has an empty part, expected a name on both sides of a ",
           separator_ == '.' ? "dot" : "slash");
    const std::string key = rest_.substr(0, end);
    rest_.erase(0, key.size() + 1);
    return separator_ == '/' ? unescaped(key) : key;
  }

  /// The element that the path goes on with, by number or by name (which may hold dots).
  size_t take_index(const Json& list) {
    std::vector<std::string> names;
    for (size_t i = 0; i < list.size(); ++i) {
      const auto name = name_of(list[i]);
      if (!name) continue;
      if (rest_ == *name || (rest_.starts_with(*name + separator_) && rest_.size() > name->size() + 1)) {
        rest_.erase(0, name->size() + 1);
        enter(std::to_string(i), *name);
        return i;
      }
      names.push_back(printable(*name));
    }
    const std::string key = take_key();
    if (key == "+") {  // one more after the last
      added_ = true;
      enter(std::to_string(list.size()), key);
      return list.size();
    }
    const auto index = number_in(key);
    if (!index || *index >= list.size())
      fail("no element '", printable(key), "' in a list of ", list.size(), schema::suggest(key, names));
    enter(key, key);
    return *index;
  }

  /// Goes on to `key`, which was typed so.
  void enter(const std::string& key, const std::string& typed) {
    parent_ = place_;
    place_ = place_ / key;
    if (separator_ == '/')
      typed_ += (Place("") / typed).pointer();
    else
      typed_ += (typed_.empty() ? "" : ".") + printable(typed, 80);
    steps_.push_back({place_.pointer(), typed_});
  }

  Json parse_value() const {
    if (!is_utf8(text_)) fail("the value is not UTF-8");
    const std::string type = type_->json_schema.value("type", "");
    const std::string text = type == "object" || type == "array" ? without_comments() : text_;
    const bool is_json = Json::accept(text);
    if (!is_json && (type == "object" || type == "array")) check_quotes();
    if (!is_json) return text_;
    try {
      Json value = parse_json(text, "the value");
      return type == "string" && !value.is_string() && !value.is_null() ? Json(text_) : std::move(value);
    } catch (const Error& error) {
      fail(error.what());
    }
  }

  /// Of an object or a list, which may have comments and a comma after its last as in a config.
  std::string without_comments() const {
    try {
      return plain_json(text_, "the value");
    } catch (const Error&) {  // of a comment that is not closed; parse_json says what is wrong
      return text_;
    }
  }

  /// An object or a list is expected. What no shell has spoiled is told apart from text by its bracket.
  void check_quotes() const {
    std::vector<std::string> values;
    for (const std::string& other : done_.given)
      if (other.starts_with(path_ + "=")) values.push_back(other.substr(path_.size() + 1));
    if (const auto meant = lost_quotes(path_, values))
      fail("the shell took the quotes of the value; in single quotes they stay: ", *meant);
    if (!text_.starts_with('{') && !text_.starts_with('[')) return;
    try {
      parse_json(text_, "the value");
    } catch (const Error& error) {
      fail(error.what());
    }
  }

  bool is_set(const Place& place) const { return schema::holds_set(place.pointer(), done_.set); }

  /// The description says which other fields the one that has been set excludes.
  void replace_others() {
    const auto leave_out = [&](const std::string& name, const std::string& why) {
      if (!container_->contains(name) || is_set(parent_ / name)) return;
      done_.notes.push_back("--set " + printable(assignment_) + ": " + why +
                            with_value(name, (*container_)[name]));
      container_->erase(name);
    };
    for (const schema::Names& group : object_type_->exactly_one) {
      if (std::ranges::find(group, name_) == group.end()) continue;
      for (const std::string& other : group)
        if (other != name_) leave_out(other, "takes the place of ");
    }
    const auto known = variants(*object_type_);
    const Json variant = variant_of(*container_, *object_type_);
    if (name_ != object_type_->variant || std::ranges::find(known, variant) == known.end()) return;
    for (const FieldDescription& field : object_type_->fields)
      if (!field.is_for(variant)) leave_out(field.name, "has no use for, and leaves out, ");
  }

  void take_element_away() {
    container_->erase(index_);
    std::vector<SetValue> left;
    for (SetValue& set : done_.set) {
      if (!without_element(set.pointer(), parent_.pointer(), index_)) continue;
      for (SetValue::Step& step : set.path)
        step.pointer = *without_element(step.pointer, parent_.pointer(), index_);
      left.push_back(std::move(set));
    }
    done_.set = std::move(left);
  }

  const std::string& assignment_;
  Overrides& done_;
  std::string path_, text_;  ///< what stands before and after the =
  char separator_ = '.';
  std::string rest_;  ///< of the path, still to be walked

  // Where the walk has come to.
  Place place_{""}, parent_{""};
  std::string typed_;
  std::vector<SetValue::Step> steps_;
  const Description* type_ = nullptr;
  Json* container_ = nullptr;                 ///< the object or list that the value is in,
  const Description* object_type_ = nullptr;  ///< null: a list
  std::string name_;
  size_t index_ = 0;
  bool added_ = false;  ///< an object was, for there was none
};

}  // namespace

void apply_override(Json& root, const Description& description, size_t which, Overrides& overrides) {
  Override(which, overrides).apply(root, description);
}

std::string path_of(const std::string& pointer, const Json& root) {
  std::string path;
  const Json* value = &root;
  for (size_t at = 0; at < pointer.size();) {
    const size_t end = std::min(pointer.find('/', at + 1), pointer.size());
    const std::string key = unescaped(pointer.substr(at + 1, end - at - 1));
    at = end;
    std::string part = key;
    if (value && value->is_array()) {
      const auto index = number_in(key);
      value = index && *index < value->size() ? &(*value)[*index] : nullptr;
      if (value) part = name_of(*value).value_or(key);
    } else {
      value = value && value->is_object() && value->contains(key) ? &(*value)[key] : nullptr;
    }
    path += (path.empty() ? "" : ".") + printable(part, 80);
  }
  return path;
}

}  // namespace espalier
