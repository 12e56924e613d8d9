#include "espalier/run/checkpoint.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "espalier/channels/surgery.h"
#include "espalier/config/json.h"
#include "espalier/core/compute_device.h"
#include "espalier/graph/graph_json.h"
#include "espalier/nn/graph_module.h"
#include "espalier/nn/history_json.h"
#include "espalier/nn/init.h"
#include "espalier/nn/names.h"
#include "espalier/nn/network.h"
#include "espalier/nn/network_formats.h"
#include "espalier/onnx/import.h"
#include "espalier/run/foreign_weights.h"
#include "espalier/run/unregistered.h"
#include "espalier/run/weights_origin.h"
#include "espalier/util/input_file.h"
#include "espalier/util/table.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

using Json = nlohmann::ordered_json;

/// Calls visit(name, field) for each field of a position that is always there.
template <class Position, class Visit>
void for_fields(Position& at, const Visit& visit) {
  visit("stage", at.stage);
  visit("epoch", at.epoch);
  visit("batch", at.batch);
  visit("step", at.step);
  visit("optimizer_steps", at.optimizer_steps);
  visit("seconds", at.seconds);
  visit("train_seconds", at.train_seconds);
  visit("trained_images", at.trained_images);
  visit("loss_sum", at.loss_sum);
  visit("images", at.images);
  visit("correct", at.correct);
  visit("threads", at.threads);
  visit("isa", at.isa);
  visit("metrics_bytes", at.metrics_bytes);
}

Json position_json(const RunPosition& position) {
  Json json;
  for_fields(position, [&](const char* name, const auto& field) { json[name] = field; });
  json["run_seconds"] = position.run_seconds;
  json["device"] = position.device;
  json["precision"] = position.precision;
  if (position.steps_before) json["steps_before"] = *position.steps_before;
  json["results"] = Json::array();
  for (const StageResult& result : position.results) json["results"].push_back(to_json(result));
  if (!position.callbacks.empty()) json["callbacks"] = position.callbacks;
  if (position.data)
    json["data"] = {{"train", position.data->train},
                    {"validation", position.data->validation},
                    {"test", position.data->test}};
  if (!position.begun.empty()) json["begun"] = position.begun;
  if (position.first) json["first"] = history_json(*position.first);
  return json;
}

/// Of a version whose position had what callbacks remember among its own fields; "whole", PruneCallback's,
/// stayed there longest.
std::map<std::string, Json> callbacks_of_older(const Json& position) {
  std::map<std::string, Json> callbacks;
  const auto take = [&](const char* callback, const char* name) {
    if (position.contains(name)) callbacks[callback][name] = position[name];
  };
  for (const char* name : {"best_accuracy", "best_epoch", "accuracy_to_beat", "stale"})
    take("evaluate", name);
  take("regularize", "chosen");
  return callbacks;
}

RunPosition position_from(const Json& json, const std::string& place) {
  RunPosition position;
  for_fields(position, [&]<class T>(const char* name, T& field) {
    if constexpr (std::is_same_v<T, int64_t>)
      field = json_count(json, name, place);
    else
      field = json_field<T>(json, name, place);
  });
  const auto results = json_field<std::vector<Json>>(json, "results", place);
  for (size_t i = 0; i < results.size(); ++i)
    position.results.push_back(
        stage_from_json(results[i], json_place(json_place(place, "results"), std::to_string(i))));
  if (json.contains("run_seconds")) {
    position.run_seconds = json_field<double>(json, "run_seconds", place);
  } else {  // of a version whose rows of metrics had no time
    position.run_seconds = position.seconds;
    for (const StageResult& result : position.results) position.run_seconds += result.seconds;
  }
  for (const auto& [name, field] :
       {std::pair{"device", &position.device}, {"precision", &position.precision}})
    if (json.contains(name)) *field = json_field<std::string>(json, name, place);
  if (json.contains("steps_before")) position.steps_before = json_count(json, "steps_before", place);
  if (json.contains("callbacks"))
    position.callbacks = json_field<std::map<std::string, Json>>(json, "callbacks", place);
  else
    position.callbacks = callbacks_of_older(json);
  if (json.contains("whole")) position.callbacks["prune"] = json_field<Json>(json, "whole", place);
  if (json.contains("data")) {
    const auto data = json_field<Json>(json, "data", place);
    const std::string inside = json_place(place, "data");
    position.data = {json_count(data, "train", inside), json_count(data, "validation", inside),
                     json_count(data, "test", inside)};
  }
  if (json.contains("begun")) position.begun = json_field<std::vector<std::string>>(json, "begun", place);
  if (json.contains("first"))
    position.first = history_from(json_field<Json>(json, "first", place).dump(), json_place(place, "first"));
  return position;
}

/// Weights, and in the metadata what does not depend on who trained them.
TensorFile network_file(Module& model, const Network& network, const std::vector<std::string>& classes,
                        const std::string& source) {
  for (const std::string& name : classes)
    ESP_CHECK(is_utf8(name), source, ": cannot write: the name of a class is not UTF-8");
  TensorFile file{.tensors = state_dict(model), .metadata = {}};
  file.metadata["format"] = "pt";  // what PyTorch's own loaders look for
  file.metadata["espalier.network"] = to_json(network.graph).dump();
  if (!classes.empty()) file.metadata["espalier.classes"] = Json(classes).dump();
  if (!model.history.empty()) file.metadata["espalier.history"] = history_json(model.history).dump();
  return file;
}

void check_class_names(const std::vector<std::string>& names, int64_t outputs, const std::string& place) {
  ESP_CHECK(names.empty() || static_cast<int64_t>(names.size()) == outputs, place, ": ", names.size(),
            names.size() == 1 ? " name of a class for " : " names of classes for ", outputs, " ",
            plural(outputs, "output"));
}

TensorFile run_file(Module& model, const Config& config, const std::vector<std::string>& classes,
                    const std::string& source) {
  check_class_names(classes, config.model.classes, source + ": cannot write");
  TensorFile file = network_file(model, Network(model, config.model.input), classes, source);
  file.metadata["espalier.config"] = config_json(config).dump();
  return file;
}

/// Of a file of only weights: which are masked.
void name_masked(TensorFile& file, Module& model) {
  Json masked = Json::array();
  for (const Parameter* parameter : model.parameters())
    if (parameter->mask.defined()) masked.push_back(parameter->name);
  if (!masked.empty()) file.metadata["espalier.masked"] = masked.dump();
}

/// Mean or std as a file has them; `otherwise` for all channels where none are given, as a Loader has it.
std::vector<double> one_a_channel(const std::vector<double>& given, double otherwise, const Shape& image,
                                  const std::string& name, const std::string& source) {
  const int64_t channels = image[-1];
  if (given.empty()) return std::vector<double>(static_cast<size_t>(channels), otherwise);
  ESP_CHECK(static_cast<int64_t>(given.size()) == channels, source, ": cannot write: ", given.size(), " ",
            plural(static_cast<int64_t>(given.size()), "number"), " as ", name, " of ", channels, " ",
            plural(channels, "channel"));
  for (const double value : given)
    ESP_CHECK(std::isfinite(value) && (name == "mean" || value > 0), source, ": cannot write: ", value,
              " as ", name, " of a channel");
  return given;
}

/// Error unless the description says how the file lays out each parameter.
void check_layouts(Module& model, const Graph& graph, const std::string& source) {
  const auto positions = [](const FileLayout& layout) {
    return layout.kind == FileLayout::flattened ? layout.positions : 1;
  };
  for (int i = 0; i < static_cast<int>(graph.values.size()); ++i) {
    const Parameter* parameter = model.find(graph.values[static_cast<size_t>(i)].parameter);
    if (!parameter || parameter->role != Role::weight || parameter->shape().axes() != 2) continue;
    const FileLayout described = file_layout(graph, i);
    const bool either = described.kind == FileLayout::same &&
                        parameter->layout.kind == FileLayout::flattened &&
                        (parameter->layout.positions == parameter->shape()[1]);
    ESP_CHECK(either || positions(described) == positions(parameter->layout), source,
              ": cannot write: ", parameter->name, " follows a flatten of ", positions(described),
              " pixels, but was made for ", positions(parameter->layout),
              ": Linear's `positions` gives its columns PyTorch's order");
  }
}

/// A tensor of a file that stands beside the weights: "slot0" and "fc1.weight" of "slot0/fc1.weight", which
/// Parameter::for_tensors calls so.
struct Beside {
  std::string_view is, parameter;
};
/// Nothing for what is a weight itself: names of PyTorch's have no slash, or one after a dot.
std::optional<Beside> beside(std::string_view name) {
  const size_t slash = name.find('/');
  if (slash == 0 || slash == name.npos) return std::nullopt;
  const std::string_view is = name.substr(0, slash);
  const TensorUse use = use_of(is);
  if (is.find('.') != is.npos || use == TensorUse::value || use == TensorUse::gradient) return std::nullopt;
  return Beside{is, name.substr(slash + 1)};
}

/// What stands beside a parameter's value, in memory's layout.
Tensor in_memory(const std::string& name, const Tensor& found, const Parameter& parameter,
                 const std::string& source) {
  const DType dtype = use_of(beside(name)->is) == TensorUse::mask ? DType::u8 : DType::f32;
  ESP_CHECK(found.shape() == file_shape(parameter) && found.dtype() == dtype, source, ": '", printable(name),
            "' is ", dtype_name(found.dtype()), found.shape(), ", expected ", dtype_name(dtype),
            file_shape(parameter));
  return from_file_layout(parameter, found);
}

const std::string& metadata(const TensorFile& file, const std::string& key, const std::string& source) {
  const auto found = file.metadata.find(key);
  ESP_CHECK(found != file.metadata.end(), source, ": has no '", key,
            "' in its metadata: not a checkpoint or model of Espalier's (plain weights go into a config's "
            "model.weights)");
  return found->second;
}

Tensor mask_in(const TensorFile& file, const Parameter& parameter, const std::string& source) {
  const std::string name = "mask/" + parameter.name;
  const Tensor* found = file.find(name);
  return found ? in_memory(name, *found, parameter, source) : Tensor();
}

/// Where a parameter is not 0.
Tensor nonzero_mask(const Parameter& parameter) {
  Tensor mask = Tensor::empty(parameter.shape(), DType::u8);
  if (mask.device() == Device::meta) return mask;
  const Tensor value = parameter.value().to(Device::cpu);
  std::ranges::transform(value.span<float>(), mask.data<uint8_t>(),
                         [](float v) { return static_cast<uint8_t>(v != 0.0f); });
  return mask.to(parameter.value().device());
}

std::vector<std::string> masked_names(const std::string& json, const std::string& source) {
  const std::string place = source + ": which of its parameters are masked cannot be read";
  return json_value<std::vector<std::string>>(parse_json(json, place), place);
}

/// A bias and a norm's shift are often zero without a mask: of these, only what goes with zeros of the
/// layer's own weight or scale, all of a filter's, was held.
void keep_lone_zeros(Module& model, Parameter& parameter) {
  if (parameter.role == Role::weight || parameter.role == Role::scale) return;
  const Parameter* beside = model.find(std::string(layer_name(parameter.name)) + ".weight");
  if (!beside || beside == &parameter || beside->shape()[0] != parameter.shape()[0]) return;
  if (parameter.mask.device() == Device::meta) return;
  const Tensor weight = beside->value().to(Device::cpu);
  Tensor mask = parameter.mask.to(Device::cpu);
  const int64_t size = weight.shape().elements() / weight.shape()[0];
  for (int64_t o = 0; o < weight.shape()[0]; ++o) {
    const float* const row = weight.f32() + o * size;
    if (std::any_of(row, row + size, [](float w) { return w != 0.0f; })) mask.data<uint8_t>()[o] = 1;
  }
  parameter.mask = mask.to(parameter.value().device());
}

/// Of a file of only weights: masks the zeros of the parameters that were masked.
void mask_zeros(const TensorFile& file, Module& model, const std::string& source) {
  const auto found = file.metadata.find("espalier.masked");
  if (found == file.metadata.end()) return;
  for (const auto& name : masked_names(found->second, source)) {
    Parameter* parameter = model.find(name);
    ESP_CHECK(parameter && parameter->value().dtype() == DType::f32, source, ": '", printable(name),
              "' is masked, and is not the model's");
    if (parameter->mask.defined()) continue;
    parameter->mask = nonzero_mask(*parameter);
    keep_lone_zeros(model, *parameter);
  }
}

/// All masks that the file says, and no more.
void take_masks(const TensorFile& file, Module& model, const std::string& source) {
  for (const auto& [name, tensor] : file.tensors) {
    if (!name.starts_with("mask/")) continue;
    const Parameter* masked = model.find(name.substr(name.find('/') + 1));
    ESP_CHECK(masked && masked->learned(), source, ": '", printable(name),
              "' is a mask of nothing that the model learns");
  }
  for (Parameter* parameter : model.parameters())
    if (Tensor mask = mask_in(file, *parameter, source); mask.defined()) parameter->set_mask(std::move(mask));
  mask_zeros(file, model, source);
}

/// Masks every zero of the weights of convolutions and linear layers.
void hold_all_zeros(Module& model) {
  for (Parameter* parameter : model.parameters())
    if (parameter->role == Role::weight && parameter->nonzeros() < parameter->value().elements())
      parameter->mask = nonzero_mask(*parameter);
}

/// A file's weights without what a checkpoint holds beside them. What no parameter of the model's has beside
/// it, under a name that is not known, is left among them, and refused with them.
NamedTensors weights_alone(const TensorFile& file, Module& model) {
  NamedTensors weights;
  for (const auto& [name, tensor] : file.tensors) {
    const auto found = beside(name);
    const bool is_known = found && use_of(found->is) != TensorUse::method;
    if (!found || (!is_known && !model.find(std::string(found->parameter))))
      weights.emplace_back(name, tensor);
  }
  return weights;
}

/// So that an ONNX file will do wherever a network's file will.
const bool knows_onnx = (add_network_format(".onnx", onnx_tensor_file), true);

/// Whether save_weights of a module and its data wrote it.
/// Of a run's file its config, of which nothing is checked; null: it has none.
Json saved_config(const TensorFile& file) {
  const auto found = file.metadata.find("espalier.config");
  return found == file.metadata.end() ? Json()
                                      : Json::parse(found->second, nullptr, /*allow_exceptions=*/false);
}

/// It has the network and no config, or one with names that only the program knows which wrote it.
bool is_of_a_program(const TensorFile& file) {
  return file.metadata.contains("espalier.network") &&
         (!file.metadata.contains("espalier.config") || !unregistered_names(saved_config(file)).empty());
}

Config config_of_a_program(const TensorFile& file, const Graph& graph, const std::string& source,
                           const std::vector<std::string>& overrides) {
  Config config;
  config.file = source;
  config.name = std::filesystem::path(source).stem().string();
  config.model.type = "graph";
  config.model.input = graph.image();
  config.model.classes = graph.outputs();
  const auto normalize = file.metadata.find("espalier.normalize");
  Json data = Json::object();
  if (normalize != file.metadata.end())
    data["normalize"] = parse_json(normalize->second, source + ": its normalisation cannot be read");
  const Json of_run = saved_config(file);
  if (const Json::json_pointer at("/data/normalize"); of_run.is_object() && of_run.contains(at))
    data["normalize"] = of_run[at];
  config.data = data_config(data, source, overrides);
  return config;
}

void check_is_no_folder(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return;
  const auto checkpoint = path / "checkpoint.safetensors";
  if (!std::filesystem::exists(checkpoint))
    fail_usage(path.string(), ": is a folder, and holds no checkpoint.safetensors");
  fail_usage(path.string(), ": is a folder; its checkpoint is ", checkpoint.string());
}

/// Cuts a model that has lost no more than the file's to the shapes in the file, which `source` names in
/// messages, here and below.
void replay(const TensorFile& file, Module& model, const std::string& source) {
  const auto found = file.metadata.find("espalier.history");
  if (found == file.metadata.end()) return;
  const auto history = history_from(found->second, source);
  try {
    cut(model, cuts_between(model.history, history));
  } catch (const Error& error) {
    fail(source, ": ", error.what());
  }
}

/// An Error leaves weights and what stands beside them as they were.
void load(const TensorFile& file, Module& model, const std::string& source) {
  std::map<std::string_view, Parameter*> parameters;
  for (Parameter* parameter : model.parameters()) parameters[parameter->name] = parameter;
  const NamedTensors weights = weights_alone(file, model);
  std::map<Parameter*, NamedState> read;  // all is read and checked before anything is written
  for (const auto& [name, tensor] : file.tensors) {
    const auto found = beside(name);
    if (!found || use_of(found->is) == TensorUse::stage) continue;
    const auto of = parameters.find(found->parameter);
    if (of == parameters.end() && use_of(found->is) == TensorUse::method) continue;  // among the weights
    ESP_CHECK(of != parameters.end(), source, ": '", printable(name), "' is of no parameter of the model's");
    read[of->second].emplace(found->is, in_memory(name, tensor, *of->second, source));
  }
  load_state_dict(model, weights, source);
  for (Parameter* parameter : model.parameters()) {
    NamedState tensors = std::move(read[parameter]);
    for (auto& [is, tensor] : tensors) tensor = tensor.to(parameter->value().device());
    tensors["value"] = parameter->value();
    if (parameter->gradient().defined()) tensors["gradient"] = parameter->gradient();
    parameter->set_tensors(std::move(tensors));
  }
  mask_zeros(file, model, source);
}

/// A file, and what was taken off its names if it is another tool's.
TensorFile read_weights(const std::filesystem::path& path, Module& model, std::string& taken) {
  TensorFile file = read_network(path);
  if (!file.metadata.contains("espalier.config")) taken = adapt_foreign_weights(file, model, path.string());
  return file;
}

/// "fc" of "fc.weight" and of "mask/fc.weight".
std::string layer_of_tensor(const std::string& name) {
  const auto found = beside(name);
  return std::string(layer_name(found ? found->parameter : std::string_view(name)));
}

/// Takes what `skip` means out of the file.
void leave_out(TensorFile& file, const std::vector<std::string>& skip, const std::string& source) {
  const auto skipped = [&](const std::string& name) { return any_means_layer(skip, layer_of_tensor(name)); };
  std::erase_if(file.tensors, [&](const auto& named) { return skipped(named.first); });
  const auto masked = file.metadata.find("espalier.masked");
  if (masked == file.metadata.end()) return;
  auto names = masked_names(masked->second, source);
  std::erase_if(names, skipped);
  masked->second = Json(names).dump();
}

void check_skip(const TensorFile& file, Module& model, const WeightsOptions& options) {
  std::vector<std::string> layers;
  for (const Parameter* parameter : model.parameters()) layers.emplace_back(layer_name(parameter->name));
  for (const auto& [name, tensor] : file.tensors) layers.push_back(layer_of_tensor(name));
  check_layer_entries(options.skip_name, options.skip, layers, "layer");
}

/// What to add to a message that weights do not fit: which layers to skip, if those are but
/// a few, besides those that are skipped already, that have other shapes or that the file lacks altogether.
std::string misfit_hint(const NamedTensors& weights, Module& model, const std::vector<std::string>& skip) {
  struct Layer {
    int64_t fit = 0, misfit = 0, missing = 0;  // parameters
  };
  std::map<std::string_view, Layer> layers;
  for (const Parameter* parameter : model.parameters()) {
    const auto found = std::ranges::find(weights, parameter->name, &NamedTensors::value_type::first);
    Layer& layer = layers[layer_name(parameter->name)];
    ++(found == weights.end()                            ? layer.missing
       : found->second.shape() == file_shape(*parameter) ? layer.fit
                                                         : layer.misfit);
  }
  constexpr size_t max_layers = 4;
  std::vector<std::string> others;
  for (const auto& [name, layer] : layers) {
    if (layer.missing > 0 && layer.fit + layer.misfit > 0)
      return "";  // names differ, which skipping mends not
    if (layer.fit == 0 || layer.misfit > 0) others.emplace_back(name);
  }
  if (others.empty() || others.size() > max_layers || 2 * others.size() > layers.size()) return "";
  std::ranges::copy(skip, std::back_inserter(others));
  return skip_hint(others);
}

/// Weights of convolutions and linear layers, which are what sparsity counts.
struct Zeros {
  explicit Zeros(Module& model) {
    for (const Parameter* parameter : model.parameters()) {
      if (parameter->role != Role::weight) continue;
      const int64_t here = parameter->value().elements(), none = here - parameter->nonzeros();
      const int64_t masked = parameter->mask.defined()
                                 ? std::ranges::count(parameter->mask.to(Device::cpu).span<uint8_t>(), 0)
                                 : 0;
      all += here;
      held += masked;
      loose += none - masked;
      many = many || none - masked > here / 100;
    }
  }
  static std::string share(int64_t part, int64_t all) {
    return fmt::format("{:.3g} %",
                       100.0 * static_cast<double>(part) / static_cast<double>(std::max<int64_t>(all, 1)));
  }

  int64_t all = 0, held = 0, loose = 0;  ///< weights, zeros that masks hold, and others
  bool many = false;                     ///< loose, over a hundredth of a layer: more than chance leaves
};

}  // namespace

TensorFile weights_file(Module& model, const Config& config, const std::vector<std::string>& classes,
                        const std::string& name) {
  TensorFile file = run_file(model, config, classes, name);
  name_masked(file, model);
  return file;
}

void save_weights(const OutputPath& to, Module& model, const Config& config,
                  const std::vector<std::string>& classes) {
  write_safetensors(to, weights_file(model, config, classes, to.path.string()), Checksums::kept);
}

void save_weights(const OutputPath& to, Module& model, const DataDescription& data) {
  const Network network(model, data.image);
  ESP_CHECK(!network.graph.nodes.empty(), to.path.string(), ": cannot write: the model has no ops");
  check_layouts(model, network.graph, to.path.string());
  TensorFile file = network_file(model, network, data.class_names, to.path.string());
  if (!data.mean.empty() || !data.std.empty())
    file.metadata["espalier.normalize"] =
        Json{{"mean", one_a_channel(data.mean, 0, data.image, "mean", to.path.string())},
             {"std", one_a_channel(data.std, 1, data.image, "std", to.path.string())}}
            .dump();
  name_masked(file, model);
  checkpoint_info(file, to.path.string() + ": cannot write");  // what could not be read again
  write_safetensors(to, file, Checksums::kept);
}

void save_checkpoint(const OutputPath& to, Module& model, const Config& config, const RunPosition& position,
                     const std::vector<std::string>& classes, const NamedTensors& of_stage) {
  TensorFile file = run_file(model, config, classes, to.path.string());
  file.tensors.insert(file.tensors.end(), of_stage.begin(), of_stage.end());
  file.metadata["espalier.position"] = position_json(position).dump();
  for (const Parameter* parameter : model.parameters())
    parameter->for_tensors([&](std::string_view is, const Tensor& tensor) {
      const std::string name = join(is, "/", parameter->name);
      if (beside(name)) file.tensors.emplace_back(name, to_file_layout(*parameter, tensor));
    });
  write_safetensors(to, file, Checksums::kept);
}

NamedTensors stage_tensors(Module& of_stage) {
  NamedTensors tensors;
  for (const Parameter* parameter : of_stage.parameters())
    parameter->for_tensors([&](std::string_view is, const Tensor& tensor) {
      const TensorUse use = use_of(is);
      if (use == TensorUse::gradient) return;
      const std::string own = use == TensorUse::value ? "" : join(is, "/");
      tensors.emplace_back(join("stage/", own, parameter->name), to_file_layout(*parameter, tensor));
    });
  return tensors;
}

NamedTensors read_stage_tensors(const std::filesystem::path& path) {
  NamedTensors tensors = read_network(path).tensors;
  std::erase_if(tensors, [](const auto& named) {
    const auto found = beside(named.first);
    return !found || use_of(found->is) != TensorUse::stage;
  });
  return tensors;
}

void load_stage_tensors(const NamedTensors& tensors, Module& of_stage, const std::string& source) {
  std::map<Parameter*, NamedState> read;  // all is read and checked before anything is written
  for (const auto& [name, tensor] : tensors) {
    const std::string own = name.substr(name.find('/') + 1);
    const auto found = beside(own);
    Parameter* const parameter = of_stage.find(found ? std::string(found->parameter) : own);
    ESP_CHECK(parameter, source, ": '", printable(name), "' is of nothing that the stage trains");
    const bool is_mask = found && use_of(found->is) == TensorUse::mask;
    ESP_CHECK(
        tensor.shape() == file_shape(*parameter) && tensor.dtype() == (is_mask ? DType::u8 : DType::f32),
        source, ": '", printable(name), "' is ", dtype_name(tensor.dtype()), tensor.shape(), ", expected ",
        dtype_name(is_mask ? DType::u8 : DType::f32), file_shape(*parameter));
    read[parameter][found ? std::string(found->is) : "value"] =
        from_file_layout(*parameter, tensor).to(parameter->value().device());
  }
  for (Parameter* parameter : of_stage.parameters()) {
    const auto found = read.find(parameter);
    ESP_CHECK(found != read.end() && found->second.contains("value"), source, ": no tensor 'stage/",
              parameter->name, "', which the stage trains");
  }
  for (auto& [parameter, state] : read) parameter->set_tensors(std::move(state));
}

CheckpointInfo checkpoint_info(const TensorFile& file, const std::string& source) {
  CheckpointInfo info;
  if (is_of_a_program(file)) {
    const MetaDevice shapes_alone;
    info.config = config_of_a_program(file, graph_module_of(file, source)->graph(), source, {});
  } else {
    info.config = parse_saved_config(metadata(file, "espalier.config", source), source);
    ESP_CHECK(info.config.model.classes > 0, source,
              ": its config does not say how many classes the model has");
  }
  if (const auto found = file.metadata.find("espalier.position"); found != file.metadata.end()) {
    const std::string place = source + ": its position cannot be read";
    info.position = position_from(parse_json(found->second, place), place);
  }
  if (const auto found = file.metadata.find("espalier.classes"); found != file.metadata.end()) {
    const std::string place = source + ": its classes cannot be read";
    info.classes = json_value<std::vector<std::string>>(parse_json(found->second, place), place);
    check_class_names(info.classes, info.config.model.classes, place);
  }
  return info;
}

CheckpointInfo read_checkpoint_info(const std::filesystem::path& path) {
  check_is_no_folder(path);
  return checkpoint_info(read_network_header(path), path.string());
}

std::optional<CheckpointInfo> weights_info(const std::filesystem::path& path) {
  require_file(path);
  const TensorFile file = read_network_header(path);
  if (!file.metadata.contains("espalier.config") && !is_of_a_program(file)) return std::nullopt;
  return checkpoint_info(file, path.string());
}

void load_checkpoint(const std::filesystem::path& path, Module& model) {
  std::string taken;
  const TensorFile file = read_weights(path, model, taken);
  Transaction transaction(model);
  replay(file, model, path.string());
  load(file, model, path.string());
  transaction.commit();
}

WeightsNotes load_weights(const std::filesystem::path& path, Module& model, const WeightsOptions& options) {
  require_file(path);
  const std::optional<bool> hold_zeros = options.hold_zeros;
  const std::vector<std::string>& skip = options.skip;
  const std::string source = path.string();
  WeightsNotes notes;
  std::string taken;
  TensorFile file = read_weights(path, model, taken);
  check_skip(file, model, options);
  leave_out(file, skip, source);
  if (!taken.empty()) notes.lines.push_back(source + ": '" + taken + "' is taken off all its names");

  Transaction transaction(model);
  replay(file, model, source);
  const auto starts_afresh = [&](const Parameter& p) { return any_means_layer(skip, layer_name(p.name)); };
  if (!skip.empty() && !MetaDevice::active())  // a layer whose inputs were cut has fewer of them
    initialize(model, options.seed, options.init, starts_afresh);
  NamedTensors weights = weights_alone(file, model);
  for (const Parameter* parameter : model.parameters())
    if (starts_afresh(*parameter))
      weights.emplace_back(parameter->name, to_file_layout(*parameter, parameter->value()));
  try {
    load_state_dict(model, weights, source);
  } catch (const Error& error) {
    const std::string found = error.what(), hint = misfit_hint(weights, model, skip);
    fail(found, hint.empty() ? "" : found.ends_with("?") ? " " : "; ", hint);
  }
  if (!skip.empty())
    notes.lines.push_back(fmt::format("{}: not read, but started afresh: {}", source, fmt::join(skip, ", ")));
  if (hold_zeros.value_or(true)) take_masks(file, model, source);
  const bool masked = std::ranges::any_of(model.parameters(), [](auto* p) { return p->mask.defined(); });
  if (hold_zeros.value_or(false)) hold_all_zeros(model);
  transaction.commit();
  if (MetaDevice::active()) return notes;  // where no number is known, nothing is said of any

  const Zeros zeros(model);
  if (hold_zeros.value_or(false))
    notes.lines.push_back(fmt::format("{}: its zeros are held: {} of the weights stay 0", source,
                                      Zeros::share(zeros.held, zeros.all)));
  else if (masked)
    notes.lines.push_back(fmt::format("{}: its masks are kept: {} of the weights stay 0", source,
                                      Zeros::share(zeros.held, zeros.all)));
  if (!hold_zeros && zeros.many)
    notes.warnings.push_back(fmt::format(
        "{}: {} of its weights are exactly 0{}, and training may change them: \"hold_zeros\": true in the "
        "config's model keeps them at 0",
        source, Zeros::share(zeros.loose, zeros.all), masked ? " without a mask" : ""));
  return notes;
}

namespace {
/// What masks hold is 0 in weights that have just been read.
void hold_masked(Module& model) {
  for (Parameter* parameter : model.parameters())
    if (parameter->mask.defined()) parameter->set_mask(parameter->mask);
}
}  // namespace

void rewind_weights(const std::filesystem::path& file, Module& model) {
  load_state_dict(model, weights_alone(read_network(file), model), file.string());
  hold_masked(model);
}

void take_fresh_weights(Module& fresh, Module& model) {
  load_state_dict(model, state_dict(fresh), "new weights");
  hold_masked(model);
}

std::unique_ptr<Module> to_compute_device(std::unique_ptr<Module> model) {
  if (!MetaDevice::active()) model->to(compute_device());
  return model;
}

OpenedCheckpoint open_checkpoint(const std::filesystem::path& path,
                                 const std::vector<std::string>& overrides) {
  if (!MetaDevice::active()) {  // what does not fit is refused before it takes memory
    const MetaDevice shapes_alone;
    open_checkpoint(path, overrides);
  }
  const std::string source = path.string();
  check_is_no_folder(path);
  const TensorFile file = read_network(path);
  CheckpointInfo info = checkpoint_info(file, source);
  if (is_of_a_program(file)) {
    auto model = graph_module_of(file, source);
    info.config = config_of_a_program(file, model->graph(), source, overrides);
    load(file, *model, source);
    return {to_compute_device(std::move(model)), std::move(info)};
  }
  if (!overrides.empty()) {
    const int64_t classes = info.config.model.classes;
    info.config = parse_config(config_json(info.config).dump(), source, overrides);
    if (info.config.model.classes == 0) info.config.model.classes = classes;  // whatever data it is to see
  }
  const bool by_itself = info.config.model.type == "graph";  // what it was made of may be gone
  auto model = by_itself ? graph_module_of(file, source)
                         : make_model(info.config.model, static_cast<uint64_t>(info.config.seed));
  replay(file, *model, source);
  load(file, *model, source);
  return {to_compute_device(std::move(model)), std::move(info)};
}

}  // namespace espalier
