#include "espalier/nn/history_json.h"

#include <map>

#include "espalier/config/json.h"
#include "espalier/util/error.h"

namespace espalier {

using Json = nlohmann::ordered_json;

Json history_json(const std::vector<AxisCut>& history) {
  Json json = Json::array();
  std::map<std::pair<int64_t, std::vector<int64_t>>, size_t> places;
  for (const AxisCut& one : history) {
    const auto [place, fresh] = places.try_emplace({one.before, one.kept}, json.size());
    if (fresh) json.push_back({{"before", one.before}, {"kept", one.kept}, {"axes", Json::array()}});
    json[place->second]["axes"].push_back({one.parameter, one.axis});
  }
  return json;
}

std::vector<AxisCut> history_from(const std::string& text, const std::string& source) {
  const std::string place = source + ": its history of cuts cannot be read";
  const auto entries = json_value<std::vector<Json>>(parse_json(text, place), place);
  std::vector<AxisCut> history;
  for (size_t i = 0; i < entries.size(); ++i) {
    const std::string entry = json_place(place, std::to_string(i));
    const auto before = json_field<int64_t>(entries[i], "before", entry);
    const auto kept = json_field<std::vector<int64_t>>(entries[i], "kept", entry);
    for (const auto& axis : json_field<std::vector<std::vector<Json>>>(entries[i], "axes", entry)) {
      ESP_CHECK(axis.size() == 2, json_place(entry, "axes"), ": found a list of ", axis.size(),
                ", expected each to be a parameter and an axis");
      history.push_back({json_value<std::string>(axis[0], json_place(entry, "axes")),
                         json_value<int>(axis[1], json_place(entry, "axes")), before, kept});
    }
  }
  return history;
}

}  // namespace espalier
