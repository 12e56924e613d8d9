#include "espalier/train/history_json.h"

#include <map>

#include "espalier/core/error.h"

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

std::vector<AxisCut> history_from(const Json& json, const std::string& source) {
  std::vector<AxisCut> history;
  try {
    for (const Json& entry : json)
      for (const Json& axis : entry.at("axes"))
        history.push_back({axis.at(0).get<std::string>(), axis.at(1).get<int>(),
                           entry.at("before").get<int64_t>(), entry.at("kept").get<std::vector<int64_t>>()});
  } catch (const nlohmann::json::exception& e) {
    fail(source, ": its history of cuts cannot be read: ", e.what());
  }
  return history;
}

}  // namespace espalier
