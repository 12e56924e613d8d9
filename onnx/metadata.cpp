#include "espalier/onnx/metadata.h"

#include "espalier/config/json.h"

namespace espalier {
namespace {

const std::string normalize_key = "espalier.normalize", classes_key = "espalier.classes";

}  // namespace

void write_metadata(const OnnxData& data, onnx::ModelProto& model) {
  const auto add = [&](const std::string& key, const nlohmann::json& value) {
    auto* entry = model.add_metadata_props();
    entry->set_key(key);
    entry->set_value(value.dump());
  };
  if (!data.mean.empty()) add(normalize_key, {{"mean", data.mean}, {"std", data.std}});
  if (!data.classes.empty()) add(classes_key, data.classes);
}

void read_metadata(const onnx::ModelProto& model, const std::string& file, OnnxNetwork& network) {
  for (const auto& entry : model.metadata_props()) {
    const std::string place = file + ": its metadata " + entry.key();
    if (entry.key() == normalize_key) {
      const auto json = parse_json(entry.value(), place);
      network.mean = json_field<std::vector<double>>(json, "mean", place);
      network.std = json_field<std::vector<double>>(json, "std", place);
      ESP_CHECK(network.mean.size() == network.std.size(), place, ": mean and std are not as many");
    }
    if (entry.key() == classes_key)
      network.classes = json_value<std::vector<std::string>>(parse_json(entry.value(), place), place);
  }
}

}  // namespace espalier
