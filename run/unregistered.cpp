#include "espalier/run/unregistered.h"

#include <algorithm>

#include "espalier/data/datasets.h"
#include "espalier/nn/init.h"
#include "espalier/nn/models/models.h"
#include "espalier/optim/optimizer.h"
#include "espalier/optim/schedule.h"
#include "espalier/penalty/penalty.h"
#include "espalier/prune/criterion.h"
#include "espalier/prune/regrow.h"
#include "espalier/prune/schedule.h"
#include "espalier/prune/scope.h"
#include "espalier/train/callbacks.h"
#include "espalier/train/loss.h"

namespace espalier {

using Json = nlohmann::ordered_json;

std::vector<std::string> unregistered_names(const Json& config) {
  std::vector<std::string> unknown;
  /// Of what stands at `path`: a name, or an object whose `type` is one.
  const auto look = [&](const Json& json, const char* path, const auto& rows) {
    const Json::json_pointer at(path);
    if (!json.is_structured() || !json.contains(at)) return;
    const Json& value = json[at].is_object() && json[at].contains("type") ? json[at]["type"] : json[at];
    if (!value.is_string() || rows.find(value)) return;
    std::string name = rows.kind() + " '" + value.get<std::string>() + "'";
    if (std::ranges::count(unknown, name) == 0) unknown.push_back(std::move(name));
  };
  look(config, "/model", models());
  look(config, "/model/init", init_rules());
  look(config, "/data", datasets());
  if (!config.is_object() || !config.contains("stages") || !config["stages"].is_array()) return unknown;
  for (const Json& stage : config["stages"]) {
    look(stage, "/train/optimizer", optimizers());
    look(stage, "/train/schedule", learning_rate_schedules());
    look(stage, "/train/loss", losses());
    look(stage, "/train/regularize", penalties());
    look(stage, "/train/regrow", regrowths());
    for (const char* prune : {"/train/prune", "/prune"}) {
      look(stage, (std::string(prune) + "/criterion").c_str(), criteria());
      look(stage, (std::string(prune) + "/scope").c_str(), scopes());
      look(stage, (std::string(prune) + "/schedule").c_str(), prune_schedules());
    }
    const Json::json_pointer own("/train/callbacks");
    if (stage.is_object() && stage.contains(own) && stage[own].is_array())
      for (const Json& callback : stage[own]) look(callback, "/type", callbacks());
  }
  return unknown;
}

}  // namespace espalier
