// Fuzzes what a checkpoint's metadata say: whatever the texts, they are read, or an Error of one line is
// thrown, or of one for each mistake of a config. The input is the file; the text of a graph; and, cut at its
// zero bytes, the texts of position, classes, history, result.json and config.
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "espalier/config/json.h"
#include "espalier/graph/graph_json.h"
#include "espalier/nn/graph_module.h"
#include "espalier/nn/history_json.h"
#include "espalier/nn/network.h"
#include "espalier/run/checkpoint.h"
#include "espalier/run/result.h"
#include "lines.h"

namespace {

using namespace espalier;

constexpr const char* a_config =
    R"({"model": {"type": "mlp", "input": [1, 1, 1], "hidden": [2], "classes": 2}, "data": {"type": "synthetic"},
        "stages": [{"name": "a", "evaluate": {}}]})";

template <class Read>
void attempt(const Read& read) {
  try {
    read();
  } catch (const Error& error) {
    expect_lines(error);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  attempt([&] { checkpoint_info(parse_safetensors(std::as_bytes(std::span(data, size)), "fuzz"), "fuzz"); });
  attempt([&] {
    const MetaDevice shapes_alone;
    GraphModule module(graph_from_json(std::string(reinterpret_cast<const char*>(data), size), "fuzz"));
    Network(module, module.graph().image());
  });

  std::array<std::string, 5> texts;
  std::string_view left(reinterpret_cast<const char*>(data), size);
  for (std::string& text : texts) {
    text = left.substr(0, left.find('\0'));
    left.remove_prefix(std::min(left.size(), text.size() + 1));
  }
  const auto& [position, classes, history, result, config] = texts;
  TensorFile file{.tensors = {}, .metadata = {{"espalier.config", config.empty() ? a_config : config}}};
  if (!classes.empty()) file.metadata["espalier.classes"] = classes;
  attempt([&] { checkpoint_info(file, "fuzz"); });
  file.metadata["espalier.position"] = position;
  attempt([&] { checkpoint_info(file, "fuzz"); });
  attempt([&text = history] { history_from(text, "fuzz"); });
  attempt([&text = result] { run_from_json(parse_json(text, "fuzz"), "fuzz"); });
  return 0;
}
