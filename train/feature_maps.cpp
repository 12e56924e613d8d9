#include "espalier/train/feature_maps.h"

#include "espalier/channels/surgery.h"
#include "espalier/nn/init.h"
#include "espalier/nn/layer_outputs.h"
#include "espalier/nn/layers.h"
#include "espalier/nn/names.h"
#include "espalier/nn/network.h"

namespace espalier {
namespace {

const std::string& teachers_layer(const FeatureConfig& feature) {
  return feature.teacher ? *feature.teacher : feature.student;
}

/// The op whose output it is. Error with what the config calls the name.
const GraphNode& find(const Graph& graph, const std::string& name, const std::string& field) {
  std::vector<std::string> layers;
  for (const GraphNode& node : graph.nodes)
    if (std::string layer = graph.layer_of(node); !layer.empty()) layers.push_back(std::move(layer));
  check_layer_entries(field, {name}, layers, "layer");
  return *last_of_layer(graph, name);
}

/// Of one image: without its batch.
std::vector<int64_t> sizes_of_image(const Shape& shape) {
  const auto sizes = shape.sizes();
  return {sizes.begin() + 1, sizes.end()};
}

/// A feature in both networks.
struct Pair {
  Shape of_network, of_teacher;  // of one image, [1,...,C]
  std::string channels;
};

Pair pair_of(const FeatureConfig& feature, size_t number, const Graph& network, const Graph& teacher) {
  const std::string place = join("distill: features/", number);
  const GraphNode& ours = find(network, feature.student, place + ": student");
  const GraphNode& theirs = find(teacher, teachers_layer(feature), place + ": teacher");
  const Shape &a = network.shape(ours.output), &b = teacher.shape(theirs.output);
  ESP_CHECK(a.axes() == b.axes() && a.with(-1, 1) == b.with(-1, 1), place, ": ", feature.student,
            " puts out ", Shape(sizes_of_image(a)), ", and the teacher's ", teachers_layer(feature), " ",
            Shape(sizes_of_image(b)), ", expected to differ only in the channels, the last axis");
  Pair pair{a, b, {}};
  for (const int input : ours.present())
    if (network.is_parameter(input) && pair.channels.empty())
      pair.channels = network.values[static_cast<size_t>(input)].parameter;
  return pair;
}

std::vector<Pair> pairs_of(const std::vector<FeatureConfig>& features, const Graph& network,
                           const Graph& teacher) {
  std::vector<Pair> pairs;
  for (size_t i = 0; i < features.size(); ++i) pairs.push_back(pair_of(features[i], i, network, teacher));
  return pairs;
}

}  // namespace

FeatureMaps::FeatureMaps(const std::vector<FeatureConfig>& features, Module& network, Module& teacher,
                         const Shape& image, bool always, uint64_t seed)
    : followed_(network.history) {
  for (const Pair& pair : pairs_of(features, Network(network, image).graph, Network(teacher, image).graph)) {
    const int64_t in = pair.of_network[-1], out = pair.of_teacher[-1];
    Module* map = nullptr;
    if (always || in != out)
      map = &add_child<Conv2d>(join("distill.", features_.size()), in, out, 1, ops::Conv2dOptions{}, false);
    features_.push_back({map, pair.channels});
  }
  if (!MetaDevice::active()) initialize(*this, seed);
  to(device_of(network.parameters()));
}

Variable FeatureMaps::forward(const Variable&) {
  fail("feature_maps: maps each feature by itself: distance()");
}

Variable FeatureMaps::distance(size_t i, const Variable& of_network, const Tensor& of_teacher) const {
  Variable mapped = of_network;
  if (Module* const map = features_[i].map) {
    // Rows and tokens are images one pixel wide.
    const Shape& x = of_network.shape();
    const bool is_image = x.axes() == 4;
    const int64_t pixels = x.row_elements() / x[-1];
    mapped = map->forward(is_image ? of_network : ops::reshape(of_network, {pixels, 1, x[-1]}));
    if (!is_image) mapped = ops::reshape(mapped, sizes_of_image(of_teacher.shape()));
  }
  const Variable difference = ops::add(mapped, ops::scale(Variable(of_teacher), -1.0f));
  return ops::mean(ops::mul(difference, difference));
}

void FeatureMaps::follow(const std::vector<AxisCut>& history) {
  if (history == followed_) return;
  std::vector<AxisCut> cuts;
  for (const AxisCut& one : cuts_between(followed_, history))
    for (const Feature& feature : features_)
      if (feature.map && one.axis == 0 && one.parameter == feature.channels)
        cuts.push_back({feature.map->parameters().front()->name, 3, one.before, one.kept});
  if (!cuts.empty()) cut(*this, cuts);
  followed_ = history;
}

void check_features(const std::vector<FeatureConfig>& features, const Graph& network, const Graph& teacher) {
  pairs_of(features, network, teacher);
}

std::vector<std::string> layers_of_network(const std::vector<FeatureConfig>& features) {
  std::vector<std::string> names;
  for (const FeatureConfig& feature : features) names.push_back(feature.student);
  return names;
}

std::vector<std::string> layers_of_teacher(const std::vector<FeatureConfig>& features) {
  std::vector<std::string> names;
  for (const FeatureConfig& feature : features) names.push_back(teachers_layer(feature));
  return names;
}

}  // namespace espalier
