#include "espalier/predict/espalier_predict.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "espalier/autograd/fixed_weights.h"
#include "espalier/config/json.h"
#include "espalier/core/kernels.h"
#include "espalier/core/out_of_memory.h"
#include "espalier/core/parallel.h"
#include "espalier/core/reason.h"
#include "espalier/formats/safetensors.h"
#include "espalier/nn/graph_module.h"
#include "espalier/util/error.h"

using namespace espalier;
using Json = nlohmann::ordered_json;

struct espalier_predict_model {
  std::unique_ptr<GraphModule> network;
  std::vector<std::string> classes;
  std::vector<float> scale, shift;  // x scale + shift normalises a pixel of 0 to 255, by channel
};

struct espalier_predict_context {
  const espalier_predict_model& model;
  PreparedWeights prepared = {};  // what kernels make of the weights, which do not change
};

namespace {

thread_local std::string last_error;

/// Where there is no memory for the words, there are none.
int failed(int code, std::string reason) noexcept {
  last_error.swap(reason);
  return code;
}

std::string no_memory() noexcept { return "no memory"; }  // short enough for a string to take none

std::string words_of(const std::exception& error) noexcept {
  try {
    return reason_of(error);
  } catch (...) {
    return no_memory();
  }
}

/// What a call returns: 0, or `code` with the words of what was thrown.
template <class Body>
int guarded(int code, const Body& body) {
  try {
    body();
    return ESPALIER_PREDICT_OK;
  } catch (const OutOfMemory&) {
    return failed(ESPALIER_PREDICT_NO_MEMORY, no_memory());
  } catch (const std::bad_alloc&) {
    return failed(ESPALIER_PREDICT_NO_MEMORY, no_memory());
  } catch (const std::exception& error) {
    return failed(code, words_of(error));
  } catch (...) {
    return failed(code, {});
  }
}

/// A moving average stands in for the weight that it is of; what else belongs to weights is training's.
NamedTensors weights_of(const TensorFile& file) {
  NamedTensors weights;
  for (const auto& [name, tensor] : file.tensors) {
    if (name.find('/') != std::string::npos) continue;
    const Tensor* average = file.find("average/" + name);
    weights.emplace_back(name, average ? *average : tensor);
  }
  return weights;
}

/// Mean and std of each channel: a run's config says them, or a program's or an imported file's metadata.
std::optional<Json> normalization_of(const TensorFile& file, const std::string& source) {
  if (const auto own = file.metadata.find("espalier.normalize"); own != file.metadata.end())
    return parse_json(own->second, source + ": its normalisation cannot be read");
  const auto config = file.metadata.find("espalier.config");
  if (config == file.metadata.end()) return std::nullopt;
  const Json json = parse_json(config->second, source + ": its config cannot be read");
  const Json::json_pointer at("/data/normalize");
  if (!json.contains(at) || json[at].is_null()) return std::nullopt;
  return json[at];
}

void take_normalization(espalier_predict_model& model, const TensorFile& file, const std::string& source) {
  const auto channels = static_cast<size_t>(model.network->graph().image()[2]);
  std::vector<double> mean(channels, 0.0), std(channels, 1.0);
  if (const auto said = normalization_of(file, source)) {
    mean = json_field<std::vector<double>>(*said, "mean", source);
    std = json_field<std::vector<double>>(*said, "std", source);
  }
  ESP_CHECK(mean.size() == channels && std.size() == channels, source, ": normalises ", mean.size(),
            " channels, its network has ", channels);
  for (size_t c = 0; c < channels; ++c) {  // as data/loader.cpp has it
    model.scale.push_back(static_cast<float>(1.0 / (255.0 * std[c])));
    model.shift.push_back(static_cast<float>(-mean[c] / std[c]));
  }
}

std::unique_ptr<espalier_predict_model> model_of(const TensorFile& file, const std::string& source) {
  auto model = std::make_unique<espalier_predict_model>();
  model->network = graph_module_of(file, source);
  load_state_dict(*model->network, weights_of(file), source);
  model->network->set_training(false);
  take_normalization(*model, file, source);
  if (const auto classes = file.metadata.find("espalier.classes"); classes != file.metadata.end())
    model->classes = json_value<std::vector<std::string>>(parse_json(classes->second, source), source);
  return model;
}

/// logits of images that are normalised already.
void run(espalier_predict_context& context, Tensor images, float* logits) {
  const NoGradient off;
  const FixedWeights fixed(context.prepared);
  const Tensor y = context.model.network->forward(Variable(std::move(images))).value();
  std::copy_n(y.f32(), y.elements(), logits);
}

Shape shape_of(const espalier_predict_context& context, int64_t n) {
  const Shape image = context.model.network->graph().image();
  return {n, image[0], image[1], image[2]};
}

bool is_bad(const void* context, const void* images, int64_t n, const void* logits) {
  if (context && images && logits && n >= 1) return false;
  failed(ESPALIER_PREDICT_BAD_ARGUMENT, !context  ? "no context"
                                        : !images ? "no images"
                                        : !logits ? "no place for the logits"
                                                  : join("found ", n, " images, expected 1 or more"));
  return true;
}

}  // namespace

int espalier_predict_version(void) { return ESPALIER_PREDICT_VERSION; }

const char* espalier_predict_error(void) { return last_error.c_str(); }

int espalier_predict_set_threads(int threads) {
  return guarded(ESPALIER_PREDICT_BAD_ARGUMENT, [&] { set_threads(threads); });
}

int espalier_predict_load(const char* file, espalier_predict_model** model) {
  if (!file || !model)
    return failed(ESPALIER_PREDICT_BAD_ARGUMENT, !file ? "no file" : "no place for the model");
  *model = nullptr;
  return guarded(ESPALIER_PREDICT_BAD_FILE,
                 [&] { *model = model_of(read_safetensors(file), file).release(); });
}

int espalier_predict_load_memory(const void* bytes, size_t size, espalier_predict_model** model) {
  if (!bytes || !model)
    return failed(ESPALIER_PREDICT_BAD_ARGUMENT, !bytes ? "no bytes" : "no place for the model");
  *model = nullptr;
  return guarded(ESPALIER_PREDICT_BAD_FILE, [&] {
    const std::string source = "memory";
    *model =
        model_of(parse_safetensors({static_cast<const std::byte*>(bytes), size}, source), source).release();
  });
}

void espalier_predict_free(espalier_predict_model* model) { delete model; }

int espalier_predict_input_shape(const espalier_predict_model* model, int64_t shape[3]) {
  if (!model || !shape)
    return failed(ESPALIER_PREDICT_BAD_ARGUMENT, !model ? "no model" : "no place for the shape");
  const Shape image = model->network->graph().image();
  std::ranges::copy(image.sizes(), shape);
  return ESPALIER_PREDICT_OK;
}

int64_t espalier_predict_outputs(const espalier_predict_model* model) {
  return model ? model->network->graph().outputs() : 0;
}

const char* espalier_predict_class_name(const espalier_predict_model* model, int64_t i) {
  return model && i >= 0 && i < std::ssize(model->classes) ? model->classes[static_cast<size_t>(i)].c_str()
                                                           : nullptr;
}

int espalier_predict_new_context(const espalier_predict_model* model, espalier_predict_context** context) {
  if (!model || !context)
    return failed(ESPALIER_PREDICT_BAD_ARGUMENT, !model ? "no model" : "no place for the context");
  *context = nullptr;
  return guarded(ESPALIER_PREDICT_FAILED, [&] { *context = new espalier_predict_context{*model}; });
}

void espalier_predict_free_context(espalier_predict_context* context) { delete context; }

int espalier_predict_run_f32(espalier_predict_context* context, const float* images, int64_t n,
                             float* logits) {
  if (is_bad(context, images, n, logits)) return ESPALIER_PREDICT_BAD_ARGUMENT;
  return guarded(ESPALIER_PREDICT_FAILED, [&] {
    Tensor x = Tensor::empty(shape_of(*context, n));
    std::copy_n(images, x.elements(), x.f32());
    run(*context, std::move(x), logits);
  });
}

int espalier_predict_run_u8(espalier_predict_context* context, const uint8_t* images, int64_t n,
                            float* logits) {
  if (is_bad(context, images, n, logits)) return ESPALIER_PREDICT_BAD_ARGUMENT;
  return guarded(ESPALIER_PREDICT_FAILED, [&] {
    const Shape shape = shape_of(*context, n);
    Tensor x = Tensor::empty(shape);
    std::vector<int64_t> rows(static_cast<size_t>(n));
    std::iota(rows.begin(), rows.end(), 0);
    const espalier_predict_model& model = context->model;
    ESP_RUN(Device::cpu, gather_images(x.f32(), images, rows.data(), n, shape[1] * shape[2], shape[3],
                                       model.scale.data(), model.shift.data()));
    run(*context, std::move(x), logits);
  });
}
