#include "espalier/config/schema_help.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <span>

#include "espalier/util/definition_list.h"
#include "espalier/util/terminal.h"

namespace espalier::schema {
namespace {

/// What a field of a name may be, or each element of a list of them.
Names values_of(const FieldDescription& field) { return field.inner().names(); }

/// "type mlp, lenet5", or "every type but mlp" where that is shorter.
std::string which(const Names& chosen, const Names& all, const std::string& variant) {
  Names others;
  for (const std::string& name : all)
    if (!holds(chosen, name)) others.push_back(name);
  if (!others.empty() && others.size() * 2 < chosen.size())
    return fmt::format("every {} but {}", variant, fmt::join(others, ", "));
  return fmt::format("{} {}", variant, fmt::join(chosen, ", "));
}

/// In one line with a space after each comma and colon, so that it can be read, and broken.
std::string spaced(const Json& value) {
  std::string text;
  bool indentation = false;
  for (const char c : value.dump(1)) {  // no line's end stands within a text, where it is \\n
    if (c == '\n' && text.ends_with(',')) text += ' ';
    indentation = c == '\n' || (indentation && c == ' ');
    if (!indentation) text += c;
  }
  return text;
}

/// The defaults, each once with all variants that have it.
std::vector<std::pair<Names, Json>> grouped_defaults(const FieldDescription& field) {
  std::vector<std::pair<Names, Json>> groups;
  for (const auto& [variants, value] : field.defaults) {
    const auto same = std::ranges::find_if(
        groups, [&same_value = value](const auto& group) { return group.second == same_value; });
    if (same == groups.end())
      groups.emplace_back(variants, value);
    else
      same->first.insert(same->first.end(), variants.begin(), variants.end());
  }
  return groups;
}

/// Help, then what it may be and its default, then for which variants. `variant`: only of this one.
std::string field_text(const FieldDescription& field, const Description& object, const Json& variant = {}) {
  // Where a pattern stands for more of them, "every" says too much.
  const Names all = object.fields.empty() || object.kind_of ? Names() : values_of(object.fields.front());
  std::string text = field.help + "\n" + field.type->expected;
  if (field.is_required) text += "; required";
  const auto defaults = grouped_defaults(field);
  if (variant.is_string()) {
    for (const auto& [variants, value] : defaults)
      if (variants.empty() || holds(variants, variant)) text += "; default " + spaced(value);
    return text;
  }
  if (defaults.size() == 1) text += "; default " + spaced(defaults[0].second);
  if (!field.variants.empty()) text += "\nfor " + which(field.variants, all, object.variant);
  if (defaults.size() > 1) {
    for (const auto& [variants, value] : defaults)
      text += "\ndefault " + spaced(value) + " for " + which(variants, all, object.variant);
  }
  return text;
}

/// Whether help says the same of both.
bool are_alike(const Description& a, const Description& b) {
  const auto same_part = [](const auto& x, const auto& y) { return x && y ? are_alike(*x, *y) : x == y; };
  const auto same_field = [](const FieldDescription& x, const FieldDescription& y) {
    return x.name == y.name && x.help == y.help && x.is_required == y.is_required &&
           x.variants == y.variants && x.defaults == y.defaults && are_alike(*x.type, *y.type);
  };
  return &a == &b || (a.expected == b.expected && a.json_schema == b.json_schema && a.variant == b.variant &&
                      a.exactly_one == b.exactly_one && same_part(a.element, b.element) &&
                      same_part(a.values, b.values) && std::ranges::equal(a.fields, b.fields, same_field));
}

void collect(const Description& object, const std::string& path, const std::string& help,
             std::vector<Section>& found) {
  const auto same =
      std::ranges::find_if(found, [&](const Section& s) { return are_alike(*s.object, object); });
  found.push_back({path, help, &object, same == found.end() ? "" : same->path});
  for (const FieldDescription& field : object.fields) {
    if (!field.inner().is_object() || field.inner().fields.empty() || field.type->is_again) continue;
    collect(field.inner(), (path.empty() ? "" : path + ".") + field.name + (field.type->element ? ".N" : ""),
            field.help, found);
  }
}

/// "stages.N.train.epochs"
std::string path_of(const Section& section, const FieldDescription& field) {
  return (section.path.empty() ? "" : section.path + ".") + field.name;
}

/// Of "stages.N.train" or "/stages/N/train".
Names parts_of(const std::string& path) {
  Names parts{""};
  for (const char c : path) {
    if (c == '.' || c == '/')
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

using Parts = std::span<const std::string>;

/// Whether the last parts of a path are these words. N, a list's element, is left out of them, or stands
/// after its list by its name, which is several words if it has dots: at most `name`.
bool ends_with(Parts path, Parts words, size_t name) {
  if (words.empty()) return true;
  if (path.empty()) return false;
  const Parts before = path.first(path.size() - 1);
  if (path.back() != "N")
    return path.back() == words.back() && ends_with(before, words.first(words.size() - 1), name);
  for (size_t rest = words.size(); rest > 0 && words.size() - rest <= name; --rest)
    if ((rest == words.size() || words[rest - 1] == before.back()) &&
        ends_with(before, words.first(rest), name))
      return true;
  return false;
}

/// Of a path that is meant; what has more is none.
constexpr size_t most_words = 100;

/// A complete element's name is one word: what is more may be a field of it that is misspelt.
bool is_called(const std::string& path, Parts words, size_t name) {
  if (path.ends_with(".N")) name = std::min<size_t>(name, 1);
  return !path.empty() && words.size() <= most_words && ends_with(parts_of(path), words, name);
}

/// `word` up to the map of this name, without the key after it.
std::string without_key(const std::string& word, const std::string& map) {
  const size_t at = ("." + word).find("." + map + ".");
  return at == word.npos ? word : word.substr(0, at + map.size());
}

/// The fields that are for this variant and not for all.
std::string variant_text(const Section& section, const std::string& variant, size_t width) {
  std::vector<Definition> fields;
  for (const FieldDescription& field : section.object->fields) {
    const bool its_own = !field.variants.empty() || field.defaults.size() > 1;
    if (field.name != section.object->variant && its_own && field.is_for(variant))
      fields.push_back({field.name, field_text(field, *section.object, variant)});
  }
  return definition_list(fields, width, 4);
}

}  // namespace

std::vector<Section> sections(const Description& object) {
  std::vector<Section> found;
  collect(object, "", object.expected, found);
  return found;
}

std::string plain_path(const std::string& path) {
  Names parts = parts_of(path);
  std::erase_if(parts, [](const std::string& part) {
    return part == "N" || std::ranges::all_of(part, [](unsigned char c) { return std::isdigit(c); });
  });
  return fmt::format("{}", fmt::join(parts, "."));
}

std::string section_text(const Section& section, size_t width) {
  std::string text;
  if (!section.path.empty()) text = wrapped(section.path + ": " + section.help, width);
  if (!section.same_as.empty()) return text + wrapped("  the same fields as " + section.same_as, width);
  std::vector<Definition> fields;
  for (const FieldDescription& field : section.object->fields)
    fields.push_back({field.name, field_text(field, *section.object)});
  text += definition_list(fields, width);
  for (const Names& group : section.object->exactly_one)
    text += wrapped(fmt::format("  exactly one of {}", fmt::join(group, ", ")), width);
  return text;
}

std::vector<Section> sections_named(const std::string& word, const Description& object) {
  const Names words = parts_of(plain_path(word));
  const std::vector<Section> all = sections(object);
  const size_t longest = std::min(words.size(), most_words);
  std::vector<Section> found;
  for (size_t name = 0; found.empty() && name < longest; ++name)  // the shortest that will do
    for (const Section& section : all)
      if (is_called(section.path, words, name)) found.push_back(section);
  return found;
}

std::string help_on(const std::string& word, const Description& object, size_t width) {
  const std::string wanted = plain_path(word);
  std::vector<std::pair<std::string, Names>> entries;  // what is said, and of which places
  const auto add = [&](const std::string& text, const std::string& place) {
    const auto same = std::ranges::find_if(entries, [&](const auto& entry) { return entry.first == text; });
    if (same == entries.end())
      entries.push_back({text, {place}});
    else
      same->second.push_back(place);
  };
  for (const Section& section : sections(object)) {
    for (const FieldDescription& field : section.object->fields) {
      const std::string path = path_of(section, field);
      const bool is_section =
          field.inner().is_object() && !field.inner().fields.empty() && !field.type->is_again;
      const Names words = parts_of(field.type->values ? without_key(wanted, field.name) : wanted);
      if (!is_section && is_called(path, words, words.size()))
        add(definition_list({{"", field_text(field, *section.object)}}, width), path);
      if (!holds(values_of(field), wanted)) continue;
      const bool is_variant = field.name == section.object->variant;
      add(definition_list({{"", "may be \"" + wanted + "\": " + field.help}}, width) +
              (is_variant ? variant_text(section, wanted, width) : ""),
          path);
    }
  }
  std::string text;
  for (const auto& [what, places] : entries)
    text += (text.empty() ? "" : "\n") + wrapped(fmt::format("{}", fmt::join(places, ", ")), width) + what;
  return text;
}

Names words(const Description& object) {
  Names all;
  const auto add = [&](const std::string& word) {
    if (!word.empty() && !holds(all, word)) all.push_back(word);
  };
  for (const Section& section : sections(object)) {
    add(plain_path(section.path));
    for (const FieldDescription& field : section.object->fields) {
      add(field.name);
      for (const std::string& value : values_of(field)) add(value);
    }
  }
  return all;
}

}  // namespace espalier::schema
