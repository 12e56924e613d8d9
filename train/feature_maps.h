// Features of a stage that learns from a teacher: what layers of both networks put out, compared, and the
// maps between their widths (Romero et al.: FitNets: Hints for Thin Deep Nets, ICLR 2015).
#pragma once

#include <string>
#include <vector>

#include "espalier/graph/graph.h"
#include "espalier/nn/module.h"
#include "espalier/train/train_config.h"

namespace espalier {

/// A learned map for each feature whose widths differ, from the network's channels to the teacher's: a 1x1
/// convolution without a bias, "distill.I.weight" of feature number I. They belong to the stage, whose
/// optimizer trains them, and to neither network.
class FeatureMaps : public Module {
 public:
  /// `image`: one image's shape. `always`: a map where the widths are the same, too, as for a network that
  /// will lose channels. The maps begin from `seed` (nn/init.h). Errors are check_features's.
  FeatureMaps(const std::vector<FeatureConfig>& features, Module& network, Module& teacher,
              const Shape& image, bool always, uint64_t seed);
  std::string type() const override { return "feature_maps"; }
  Variable forward(const Variable&) override;

  /// mean((map(of_network) - of_teacher)^2), []: the mean over all numbers of feature number i of a batch,
  /// [N,...,C] and [N,...,C'].
  Variable distance(size_t i, const Variable& of_network, const Tensor& of_teacher) const;
  /// Channels that the network, whose history of cuts that is, has lost since this was made or last called
  /// are taken out of the maps that read them.
  void follow(const std::vector<AxisCut>& history);

 private:
  struct Feature {
    Module* map;           // or null
    std::string channels;  // the network's parameter whose first axis counts them
  };
  std::vector<Feature> features_;
  std::vector<AxisCut> followed_;
};

/// Error, "distill: features/0: ...", for a name that means no layer of its network, with the nearest, and
/// where height and width, or the number of tokens, are not the same in both.
void check_features(const std::vector<FeatureConfig>& features, const Graph& network, const Graph& teacher);

/// The names of the layers in either network, in their order.
std::vector<std::string> layers_of_network(const std::vector<FeatureConfig>& features);
std::vector<std::string> layers_of_teacher(const std::vector<FeatureConfig>& features);

}  // namespace espalier
