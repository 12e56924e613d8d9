#include "espalier/nn/names.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "espalier/util/error.h"
#include "espalier/util/mistakes.h"
#include "espalier/util/spelling.h"

namespace espalier {
namespace {

/// Whether all of `text` is what `pattern` says. Goes back only to the last `*`, which is enough: what
/// an earlier one could take instead, the last can, too.
bool matches(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = std::string_view::npos, taken = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      taken = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++taken;
    } else {
      return false;
    }
  }
  return pattern.substr(p).find_first_not_of('*') == std::string_view::npos;
}

/// "a", "a.b" and "a.b.c" of "a.b.c": what a layer lies under, and itself.
std::vector<std::string> path_of(const std::string& layer) {
  std::vector<std::string> path;
  for (size_t dot = layer.find('.'); dot != std::string::npos; dot = layer.find('.', dot + 1))
    path.push_back(layer.substr(0, dot));
  path.push_back(layer);
  return path;
}

/// The layers that `entry` meant as a beginning of their names and does not mean.
std::vector<std::string> meant_before(const std::string& entry, const std::vector<std::string>& layers) {
  std::vector<std::string> lost;
  for (const std::string& layer : layers)
    if (!entry.empty() && layer.starts_with(entry) && !means_layer(entry, layer)) lost.push_back(layer);
  return lost;
}

}  // namespace

bool means_layer(std::string_view entry, std::string_view layer) {
  for (size_t dot = layer.find('.'); dot != std::string_view::npos; dot = layer.find('.', dot + 1))
    if (matches(entry, layer.substr(0, dot))) return true;
  return matches(entry, layer);
}

bool any_means_layer(const std::vector<std::string>& entries, std::string_view layer) {
  return std::ranges::any_of(entries, [&](const std::string& entry) { return means_layer(entry, layer); });
}

bool any_means_layer(const std::vector<std::string>& entries, const std::vector<std::string>& layers) {
  return std::ranges::any_of(layers,
                             [&](const std::string& layer) { return any_means_layer(entries, layer); });
}

bool is_pattern(std::string_view entry) { return entry.find_first_of("*?") != std::string_view::npos; }

void check_layer_entries(const std::string& list, const std::vector<std::string>& entries,
                         const std::vector<std::string>& layers, const std::string& kind) {
  std::set<std::string> known, first;  // all that an entry may name; the first parts of it
  for (const std::string& layer : layers) {
    const std::vector<std::string> path = path_of(layer);
    known.insert(path.begin(), path.end());
    first.insert(path.front());
  }
  for (const std::string& entry : entries) {
    const auto means = [&](const std::string& layer) { return means_layer(entry, layer); };
    if (std::ranges::any_of(layers, means)) continue;
    if (const std::string whole = entry.substr(0, entry.find_last_not_of('.') + 1);
        whole != entry && known.contains(whole))
      fail(list, " '", entry, "' names no ", kind, "; '", whole,
           "' means that of this name or what lies under it, and no other whose name begins so");
    if (!meant_before(entry, layers).empty())
      fail(list, " '", entry, "' names no ", kind, "; '", entry, "*' means those whose names begin with it");
    fail(list, " '", entry, "' names no ", kind, ", known: ", fmt::format("{}", fmt::join(first, ", ")),
         did_you_mean(entry, {known.begin(), known.end()}));
  }
}

void check_layer_lists(const std::vector<std::pair<std::string, std::vector<std::string>>>& lists,
                       const std::vector<std::string>& layers) {
  Mistakes mistakes;
  for (const auto& [list, entries] : lists)
    for (const std::string& entry : entries)
      mistakes.attempt("", [&, name = list] { check_layer_entries(name, {entry}, layers); });
  mistakes.report("names of layers");
}

std::vector<std::string> notes_on_beginnings(const std::string& list, const std::vector<std::string>& entries,
                                             const std::vector<std::string>& layers) {
  constexpr size_t max_names = 4;  // names in a line
  std::vector<std::string> notes;
  for (const std::string& entry : entries) {
    std::vector<std::string> lost = meant_before(entry, layers);
    if (lost.empty()) continue;
    const std::string more =
        lost.size() > max_names ? fmt::format(" and {} more", lost.size() - max_names) : "";
    lost.resize(std::min(max_names, lost.size()));
    notes.push_back(
        fmt::format("{} '{}' does not mean {}{}, as it once did: '{}*' means all that begin with it", list,
                    entry, fmt::join(lost, ", "), more, entry));
  }
  return notes;
}

}  // namespace espalier
