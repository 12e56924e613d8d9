#include "espalier/util/spelling.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>

#include "espalier/util/error.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

/// Edit distance with transpositions of neighbours (Damerau, restricted).
size_t distance(const std::string& a, const std::string& b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before = std::exchange(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::string enumerated(const std::vector<std::string>& names, const std::string& last) {
  std::string text;
  for (size_t i = 0; i < names.size(); ++i)
    text += (i == 0 ? "" : i + 1 == names.size() ? last : ", ") + names[i];
  return text;
}

std::string nearest_spelling(const std::string& word, const std::vector<std::string>& known) {
  std::string best;
  size_t least = SIZE_MAX;
  for (const std::string& candidate : known) {
    const size_t allowed = std::max<size_t>(1, std::max(word.size(), candidate.size()) / 3);
    const bool beginning =
        !word.empty() && (candidate.starts_with(word) || (!candidate.empty() && word.starts_with(candidate)));
    const size_t longer = std::max(word.size(), candidate.size()) - std::min(word.size(), candidate.size());
    if (!beginning && longer > allowed) continue;  // that many letters must go at least
    const size_t away = beginning ? 1 : distance(word, candidate);
    if (away <= allowed && away < least) {
      least = away;
      best = candidate;
    }
  }
  return best;
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& known) {
  const std::string nearest = nearest_spelling(word, known);
  return nearest.empty() ? "" : ", did you mean '" + printable(nearest, 80) + "'?";
}

size_t position_of_name(const char* what, const std::string& name, const std::vector<std::string>& known) {
  const auto found = std::find(known.begin(), known.end(), name);
  if (found == known.end())
    fail_usage(what, ": found '", name, "', expected one of ", fmt::format("{}", fmt::join(known, ", ")),
               did_you_mean(name, known));
  return static_cast<size_t>(found - known.begin());
}

void fail_no_type(const char* what, const std::string& type, const std::vector<std::string>& known) {
  fail_usage(what, ": no type '", type, "'", did_you_mean(type, known));
}

}  // namespace espalier
