#include "espalier/util/mistakes.h"

#include <algorithm>

namespace espalier {
namespace {

template <class Kind>
struct Several : Kind, SeveralLines {
  explicit Several(std::vector<std::string> all) : Kind(text(all)), SeveralLines{std::move(all)} {}

  static std::string text(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) text += (text.empty() ? "" : "\n") + line;
    return text;
  }
};

}  // namespace

bool lies_in(std::string_view inner, std::string_view outer) {
  return inner.starts_with(outer) && (inner.size() == outer.size() || inner[outer.size()] == '/');
}

void Mistakes::add(const std::string& place, const Error& error, const std::string& prefix) {
  usage_ = usage_ || dynamic_cast<const UsageError*>(&error);
  places_.push_back(place);
  std::vector<std::string> lines{error.what()};
  if (const auto* several = dynamic_cast<const SeveralLines*>(&error))
    lines.assign(several->lines.begin(), several->lines.end() - 1);  // it is counted anew
  for (const std::string& line : lines)
    if (std::ranges::find(lines_, prefix + line, &Line::text) == lines_.end())
      lines_.push_back({place, prefix + line});
}

void Mistakes::take(const Mistakes& others, const std::function<bool(const std::string&)>& wanted) {
  for (const Line& line : others.lines_) {
    if (!wanted(line.place)) continue;
    if (others.usage_)
      add(line.place, UsageError(line.text));
    else
      add(line.place, Error(line.text));
  }
}

bool Mistakes::spare(std::string_view place) const {
  return std::ranges::none_of(
      places_, [&](const std::string& wrong) { return lies_in(wrong, place) || lies_in(place, wrong); });
}

void Mistakes::report(const std::string& what) const {
  if (lines_.empty()) return;
  std::vector<std::string> lines;
  for (const Line& line : lines_) lines.push_back(line.text);
  if (lines.size() > 1) lines.push_back(join(what, ": ", lines.size(), " mistakes"));
  if (lines.size() == 1 && usage_) throw UsageError(lines.front());
  if (lines.size() == 1) throw Error(lines.front());
  if (usage_) throw Several<UsageError>(std::move(lines));
  throw Several<Error>(std::move(lines));
}

}  // namespace espalier
