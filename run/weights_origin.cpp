#include "espalier/run/weights_origin.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "espalier/channels/graph.h"
#include "espalier/core/reason.h"
#include "espalier/nn/names.h"
#include "espalier/run/build.h"
#include "espalier/run/checkpoint.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

/// Of the config's weights; nothing if it has none, or another tool's.
std::optional<CheckpointInfo> origin(const Config& config) {
  if (!config.model.weights) return std::nullopt;
  return weights_info(*config.model.weights);
}

std::string text_of(const NormalizeConfig& normalize) {
  return fmt::format("mean {:g}, std {:g}", fmt::join(normalize.mean, " "), fmt::join(normalize.std, " "));
}

/// As good as equal: what one program writes as float another writes as double.
bool same(const NormalizeConfig& a, const NormalizeConfig& b) {
  const auto near = [](double x, double y) { return std::abs(x - y) <= 1e-6 * std::max(1.0, std::abs(x)); };
  return std::ranges::equal(a.mean, b.mean, near) && std::ranges::equal(a.std, b.std, near);
}

/// What stands for none: pixels in 0..1 as they are.
NormalizeConfig identity(int64_t channels) {
  const auto count = static_cast<size_t>(channels);
  return {.mean = std::vector<double>(count, 0.0), .std = std::vector<double>(count, 1.0)};
}

/// The layers that tell classes apart.
std::vector<std::string> heads(const Config& config) {
  const MetaDevice shapes_alone;
  return output_layers(*make_model(config.model, static_cast<uint64_t>(config.seed)), config.model.input);
}

bool starts_afresh(const Config& config, const std::vector<std::string>& layers) {
  return config.model.skip && std::ranges::all_of(layers, [&](const std::string& layer) {
           return any_means_layer(*config.model.skip, layer);
         });
}

}  // namespace

void take_normalization_of_weights(Config& config) {
  if (!config.model.weights || config.data.normalize) return;
  try {
    const auto saved = origin(config);
    if (!saved || !saved->config.data.normalize) return;
    const NormalizeConfig& normalize = *saved->config.data.normalize;
    if (static_cast<int64_t>(normalize.mean.size()) != config.model.input[2]) return;
    config.data.normalize = normalize;
    config.notes.push_back(fmt::format(
        "{}: pixels are normalised as when it was trained, for the config has no data.normalize: {}",
        *config.model.weights, text_of(normalize)));
  } catch (const Error&) {
  }
}

std::string normalization_warning(const Config& config) {
  return config.model.weights ? normalization_warning(config, *config.model.weights) : "";
}

std::string normalization_warning(const Config& config, const std::string& weights) {
  try {
    const auto saved = weights_info(weights);
    if (!saved) return "";
    const auto& theirs = saved->config.data.normalize;
    const bool may_be_unsaid = saved->config.stages.empty();  // by a program, which may have done it itself
    if (!theirs && may_be_unsaid) return "";
    const NormalizeConfig none = identity(config.model.input[2]);
    const NormalizeConfig &was = theirs ? *theirs : none,
                          &is = config.data.normalize ? *config.data.normalize : none;
    if (was.mean.size() != is.mean.size() || same(was, is)) return "";
    return fmt::format("{}: was trained on pixels {}, and the config's are {}", weights,
                       theirs ? "of " + text_of(was) : "that were not normalised",
                       config.data.normalize ? "of " + text_of(is) : "not normalised");
  } catch (const Error& error) {
    return fmt::format("{}: how its pixels were normalised, and which its classes are, cannot be read: {}",
                       weights, printable(reason_of(error), 1000));
  }
}

void check_classes_of_weights(const Config& config, const Dataset& data, const std::string& place) {
  std::vector<std::string> theirs;
  try {
    if (const auto saved = origin(config)) theirs = saved->classes;
  } catch (const Error&) {  // of which normalization_warning tells
  }
  if (static_cast<int64_t>(theirs.size()) != data.classes() || starts_afresh(config, heads(config))) return;
  try {
    check_classes(*config.model.weights, theirs, config, data, place);
  } catch (const Error& error) {
    fail(error.what(), "; ", skip_head_hint(config));
  }
}

std::string skip_head_hint(const Config& config) {
  if (!config.model.weights) return "";
  auto layers = heads(config);
  if (starts_afresh(config, layers)) return "";
  if (config.model.skip) std::ranges::copy(*config.model.skip, std::back_inserter(layers));
  return skip_hint(layers);
}

std::string skip_hint(const std::vector<std::string>& layers) {
  std::vector<std::string> entries;
  for (const std::string& layer : layers) entries.push_back(nlohmann::json(layer).dump());
  return fmt::format("\"skip\": [{}] in the config's model starts {} afresh", fmt::join(entries, ", "),
                     entries.size() == 1 ? "that layer" : "those layers");
}

}  // namespace espalier
