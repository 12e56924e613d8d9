#include "espalier/config/set_value.h"

#include <algorithm>

#include "espalier/util/mistakes.h"

namespace espalier::schema {

bool is_set(const std::string& pointer, const std::vector<SetValue>& set) {
  return !where_set(pointer, set).empty();
}

std::string where_set(const std::string& pointer, const std::vector<SetValue>& set) {
  const auto found =
      std::ranges::find_if(set, [&](const SetValue& value) { return lies_in(pointer, value.pointer()); });
  return found == set.end() ? "" : found->where;
}

bool holds_set(const std::string& pointer, const std::vector<SetValue>& set) {
  return std::ranges::any_of(set, [&](const SetValue& value) { return lies_in(value.pointer(), pointer); });
}

std::string shown(const std::string& pointer, const std::vector<SetValue>& set) {
  const SetValue::Step* nearest = nullptr;
  for (const SetValue& value : set)
    for (const SetValue::Step& step : value.path)
      if (lies_in(pointer, step.pointer) && (!nearest || step.pointer.size() > nearest->pointer.size()))
        nearest = &step;
  if (!nearest) return pointer;
  std::string rest = pointer.substr(nearest->pointer.size());
  if (!nearest->typed.starts_with('/')) std::ranges::replace(rest, '/', '.');
  return nearest->typed + rest;
}

}  // namespace espalier::schema
