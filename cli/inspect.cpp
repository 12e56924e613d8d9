// espalier inspect
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "espalier/cli/arguments.h"
#include "espalier/cli/open_model.h"
#include "espalier/formats/packed.h"
#include "espalier/nn/network.h"
#include "espalier/nn/state_dict.h"
#include "espalier/prune/report.h"
#include "espalier/util/table.h"

namespace espalier::cli {
namespace {

nlohmann::ordered_json to_json(const Network& network, uint64_t packed_bytes,
                               const std::vector<LayerWidth>& cut) {
  nlohmann::ordered_json layers = nlohmann::ordered_json::array();
  for (const LayerRow& layer : network.layers)
    layers.push_back({{"name", layer.name},
                      {"type", layer.type},
                      {"shape", layer.shape.sizes()},
                      {"parameters", layer.parameters},
                      {"nonzeros", layer.nonzeros},
                      {"sparsity", layer.sparsity()},
                      {"macs", layer.macs}});
  nlohmann::ordered_json widths = nlohmann::ordered_json::array();
  for (const LayerWidth& width : cut)
    widths.push_back({{"layer", width.layer}, {"before", width.before}, {"after", width.after}});
  const NetworkTotals& totals = network.totals;
  return {{"layers", layers},    {"parameters", totals.parameters}, {"nonzeros", totals.nonzeros},
          {"macs", totals.macs}, {"bytes", totals.bytes},           {"packed_bytes", packed_bytes},
          {"channels", widths}};
}

}  // namespace

void inspect(const Given& given) {
  std::string file;
  std::optional<std::string> root;
  bool json = false;
  Arguments arguments("inspect");
  arguments.positional("CONFIG|CHECKPOINT", file, config_or_checkpoint)
      .data_root(root)
      .flag("--json", json, "Print JSON");
  if (!arguments.parse(given)) return;

  Config config;
  const std::unique_ptr<Module> model = open_model(file, config, root);
  const Network network(*model, config.model.input);
  const std::vector<LayerWidth> cut = cut_widths(*model);
  const auto packed_bytes = [&] {
    return PackedFile({.tensors = state_dict(*model), .metadata = {}}, PackedValues::f32, file).bytes();
  };
  if (json) return print_json(to_json(network, packed_bytes(), cut), 2);
  print(network_table(network.layers, network.totals, terminal_width()));
  if (network.totals.weight_zeros > 0)
    print(fmt::format("{} bytes packed (`espalier pack`)\n", grouped(static_cast<int64_t>(packed_bytes()))));
  if (!cut.empty()) print("\n" + width_table(cut, terminal_width()));
}

}  // namespace espalier::cli
