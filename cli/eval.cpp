// espalier eval
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "espalier/cli/arguments.h"
#include "espalier/core/table.h"
#include "espalier/optim/ema.h"
#include "espalier/train/build.h"
#include "espalier/train/checkpoint.h"
#include "espalier/train/evaluate.h"

namespace espalier::cli {

void eval(const Given& given) {
  std::string file;
  std::vector<std::string> overrides;
  std::optional<std::string> root;
  bool json = false;
  Arguments arguments("eval");
  arguments.positional("CHECKPOINT", file, "A run's checkpoint.safetensors or models/STAGE.safetensors")
      .overrides(overrides)
      .data_root(root)
      .threads()
      .flag("--json", json, "Print JSON");
  if (!arguments.parse(given)) return;

  Config config;
  const auto model = open_checkpoint(file, &config, overrides);
  const DataSplits data = build_data(config, root);
  Loader test(data.test, evaluation_options(config, data.test));
  const AverageInPlace average(model->parameters());
  const Evaluation e = evaluate(*model, test);
  if (json)
    print(nlohmann::ordered_json{{"accuracy", e.accuracy},
                                 {"top5", e.top5},
                                 {"loss", e.loss},
                                 {"images", data.test.size()},
                                 {"data", data.test.name}}
              .dump() +
          "\n");
  else
    print(fmt::format("accuracy {:.2f} %  top-5 {:.2f} %  loss {:.4f}  ({}, {} images)\n", e.accuracy, e.top5,
                      e.loss, data.test.name, grouped(data.test.size())));
}

}  // namespace espalier::cli
