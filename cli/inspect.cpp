// espalier inspect
#include <nlohmann/json.hpp>

#include "espalier/cli/arguments.h"
#include "espalier/cli/open_model.h"
#include "espalier/nn/network.h"
#include "espalier/prune/report.h"

namespace espalier::cli {
namespace {

nlohmann::ordered_json to_json(const Network& network) {
  nlohmann::ordered_json layers = nlohmann::ordered_json::array();
  for (const LayerRow& layer : network.layers)
    layers.push_back({{"name", layer.name},
                      {"type", layer.type},
                      {"shape", layer.shape.sizes()},
                      {"parameters", layer.parameters},
                      {"nonzeros", layer.nonzeros},
                      {"sparsity", layer.sparsity()},
                      {"macs", layer.macs}});
  const NetworkTotals& totals = network.totals;
  return {{"layers", layers},
          {"parameters", totals.parameters},
          {"nonzeros", totals.nonzeros},
          {"macs", totals.macs},
          {"bytes", totals.bytes}};
}

}  // namespace

void inspect(const Given& given) {
  std::string file;
  bool json = false;
  Arguments arguments("inspect");
  arguments.positional("CONFIG|CHECKPOINT", file, config_or_checkpoint).flag("--json", json, "Print JSON");
  if (!arguments.parse(given)) return;

  Config config;
  const std::unique_ptr<Module> model = open_model(file, config);
  const Network network(*model, config.model.input);
  if (json) return print(to_json(network).dump(2) + "\n");
  print(network_table(network.layers, network.totals));
  if (!model->history.empty()) print("\n" + history_table(*model));
}

}  // namespace espalier::cli
