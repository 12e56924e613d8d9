// espalier graph
#include <nlohmann/json.hpp>

#include "espalier/channels/graph_text.h"
#include "espalier/cli/arguments.h"
#include "espalier/cli/open_model.h"
#include "espalier/cli/output_file.h"
#include "espalier/nn/network.h"
#include "espalier/util/atomic_file.h"

namespace espalier::cli {
namespace {

nlohmann::ordered_json to_json(const ChannelGraph& graph) {
  auto groups = nlohmann::ordered_json::array();
  for (const ChannelGroup& group : graph.groups) {
    auto members = nlohmann::ordered_json::array();
    for (const GroupMember& member : group.members)
      members.push_back({{"parameter", member.parameter->name},
                         {"axis", member.axis},
                         {"side", member.out ? "out" : "in"},
                         {"channel_of", member.channel_of}});
    groups.push_back({{"channels", group.channels},
                      {"multiplicity", group.multiplicity},
                      {"fixed", group.fixed},
                      {"members", members}});
  }
  return {{"groups", groups}};
}

}  // namespace

void graph(const Given& given) {
  std::string file;
  std::optional<std::string> root, dot;
  bool json = false;
  Arguments arguments("graph");
  arguments.positional("CONFIG|CHECKPOINT", file, config_or_checkpoint)
      .data_root(root)
      .path("--dot", "FILE", dot, "Write the network with its groups there, for Graphviz (dot -Tsvg)")
      .flag("--json", json, "Print JSON, with the index of every channel in every parameter");
  if (!arguments.parse(given)) return;

  if (dot) check_output("graph: --dot", *dot, {file});
  Config config;
  const std::unique_ptr<Module> model = open_model(file, config, root);
  if (dot && config.model.weights) check_output("graph: --dot", *dot, {*config.model.weights});
  const Network network(*model, config.model.input);
  const ChannelGraph groups = channel_graph(*model, network.graph);
  if (dot) write_file(*dot, graph_dot(groups, network.graph));
  if (json) return print_json(to_json(groups), 2);
  print(graph_text(groups, terminal_width()));
}

}  // namespace espalier::cli
