// espalier compare
#include "espalier/cli/arguments.h"
#include "espalier/core/error.h"
#include "espalier/formats/input_file.h"
#include "espalier/formats/json.h"
#include "espalier/train/result.h"
#include "espalier/train/run_folder.h"

namespace espalier::cli {
namespace {

RunResult result_of(const std::string& path) {
  const RunFolder folder(path);
  if (!std::filesystem::exists(folder.path())) fail_usage(path, ": there is no such folder");
  const std::string file = folder.result().string();
  if (!std::filesystem::exists(folder.result()))
    fail_usage(path, ": has no result.json: ",
               folder.holds_run() ? "its run has not come to its end; --resume goes on with it"
                                  : "it is not the folder of a run");
  RunResult result = run_from_json(parse_json(read_file(folder.result()), file), file);
  result.name = path;  // two runs of one config have the same name
  return result;
}

}  // namespace

void compare(const Given& given) {
  std::vector<std::string> runs;
  Arguments arguments("compare");
  arguments.positional("RUN", runs, "Folders of runs, e.g. runs/mnist_mlp runs/sparser");
  if (!arguments.parse(given)) return;
  std::vector<RunResult> results;
  for (const std::string& run : runs) results.push_back(result_of(run));
  print(result_table(results));
}

}  // namespace espalier::cli
