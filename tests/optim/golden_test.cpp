// Whole models against PyTorch: logits and gradients of the first batch, training losses step by step, and
// logits in inference, recorded by bench/golden.py.
#include "optim/golden.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "espalier/autograd/fixed_weights.h"
#include "espalier/nn/network.h"

namespace espalier {
namespace {

/// What may depart, and how far: logits in shares of the largest, gradients of their norm, losses of
/// themselves.
struct Case {
  std::string name;
  std::vector<std::string> runs;
  size_t steps;  ///< of each run
  double logits, losses;
  double gradients = 0;  ///< 0: they are not recorded
  bool norms = false;

  friend std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }
};

class GoldenModel : public testing::TestWithParam<Case> {
 protected:
  const Golden golden{GetParam().name};

  void expect_logits(const Tensor& found, const char* recorded) const {
    const auto images = golden[recorded].get<std::vector<std::vector<float>>>();
    ASSERT_GE(images.size(), 2u);
    float largest = 0;
    for (const auto& image : images)
      for (const float logit : image) largest = std::max(largest, std::abs(logit));
    for (size_t n = 0; n < images.size(); ++n)
      for (size_t k = 0; k < images[n].size(); ++k)
        ASSERT_NEAR(found.f32()[n * images[n].size() + k], images[n][k], GetParam().logits * largest)
            << recorded << ", image " << n << ", class " << k;
  }
};

TEST_P(GoldenModel, HasTheParametersAndMultiplyAccumulatesThatWereCounted) {
  if (!golden.has("counts")) GTEST_SKIP() << "not recorded";
  const auto& counts = golden["counts"];
  const MetaDevice shapes_alone;
  ModelOptions options{.type = golden["model"].at("type"), .classes = counts.at("classes")};
  options.input = Shape(std::span<const int64_t>(counts.at("input").get<std::vector<int64_t>>()));
  const NetworkTotals totals = Network(*make_model(options, 0), options.input).totals;
  EXPECT_EQ(totals.macs, counts.at("macs").get<int64_t>());
  EXPECT_EQ(totals.parameters, counts.at("parameters").get<int64_t>());
}

TEST_P(GoldenModel, LogitsOfTheFirstBatch) {
  const NoGradient off;
  expect_logits(golden.model()->forward(golden.batch(0).images).value(), "logits");
}

class GoldenGradients : public GoldenModel {};
TEST_P(GoldenGradients, OfTheFirstBatch) {
  const auto model = golden.model();
  golden.loss(*model, 0).backward();
  uint64_t place = 0;
  double weights_norm = 0;
  for (Parameter* parameter : model->parameters()) {
    if (!parameter->learned()) continue;
    const auto& recorded = golden["gradients"].at(parameter->name);
    const double norm = recorded.at("norm"), projection = recorded.at("projection");
    const auto [found_norm, found_projection] = golden.in_two_numbers(*parameter, place++);
    const bool is_weight = parameter->role == Role::weight;
    if (is_weight) weights_norm = norm;
    // A norm takes away whatever the bias before it adds: such a bias has the gradient 0, and what is
    // recorded is the rounding of a sum, which is as large as its terms allow.
    if (!is_weight && norm < 1e-5 * weights_norm) {
      EXPECT_LT(found_norm, 1e-5 * weights_norm) << parameter->name;
      continue;
    }
    EXPECT_NEAR(found_norm, norm, GetParam().gradients * norm) << parameter->name;
    EXPECT_NEAR(found_projection, projection, GetParam().gradients * norm) << parameter->name;
  }
  EXPECT_EQ(place, golden["gradients"].size());
}

TEST_P(GoldenModel, Losses) {
  for (const std::string& run : GetParam().runs) {
    ASSERT_EQ(golden["runs"].at(run).at("losses").size(), GetParam().steps);
    const double departure = golden.departure(run);
    EXPECT_LT(departure, GetParam().losses) << run;
    RecordProperty(run, fmt::format("{:.1e}", departure));
  }
}

/// The largest difference between two images in one logit, as a share of the largest logit.
double spread(const std::vector<std::vector<double>>& images) {
  double largest = 0, range = 0;
  for (size_t k = 0; k < images[0].size(); ++k) {
    double lowest = images[0][k], highest = lowest;
    for (const auto& image : images) {
      lowest = std::min(lowest, image[k]);
      highest = std::max(highest, image[k]);
    }
    range = std::max(range, highest - lowest);
    largest = std::max({largest, highest, -lowest});
  }
  return range / largest;
}

class GoldenNorms : public GoldenModel {};
TEST_P(GoldenNorms, LogitsInInference) {
  ASSERT_GT(spread(golden["inference"]), 0.3) << "outputs that hardly differ would judge nothing";
  const auto model = golden.model();
  golden.randomize_norms(*model);
  model->set_training(false);
  Variable images = golden.batch(0).images;
  for (int64_t n = 0; n < images.shape()[0]; ++n)  // image n is n + 1 times as bright
    for (float& pixel : images.value().span<float>().subspan(n * images.shape().row_elements(),
                                                             images.shape().row_elements()))
      pixel *= static_cast<float>(n + 1);
  expect_logits(model->forward(images).value(), "inference");
  const NoGradient off;
  expect_logits(model->forward(images).value(), "inference");
  const FixedWeights fixed;
  expect_logits(model->forward(images).value(), "inference");
}

const std::vector<std::string> every{"sgd", "nesterov", "adam", "adamw"};
// ReLU and max amplify rounding, so that LeNet-5 with both is followed for ten steps, VGGs and ResNet-20 for
// three, ResNet-50 for three from small blocks, and else ResNets of the larger kind for none: bench/golden.py
// says how much.
const Case cases[] = {
    {"mlp", every, 100, 2e-5, 1e-4, 1e-5},
    {"lenet300", every, 100, 2e-5, 1e-4, 1e-5},
    {"lenet5_gelu_average", every, 100, 2e-5, 1e-4, 1e-5},
    {"lenet5", every, 10, 2e-5, 1e-3, 1e-5},
    {"vgg16", {"sgd"}, 3, 1e-3, 2e-3, 0, true},
    {"vgg19", {"sgd"}, 3, 1e-3, 2e-3, 0, true},
    {"vgg13_gelu_average", {"sgd"}, 15, 1e-3, 1e-4, 1e-3, true},
    {"vgg11_gelu_average", {"sgd"}, 3, 1e-3, 1e-4, 1e-3, true},
    {"resnet20", {"sgd"}, 3, 1e-3, 2e-3, 0, true},
    {"resnet20_gelu", {"sgd"}, 3, 1e-3, 1e-4, 1e-3, true},
    {"resnet18", {"sgd"}, 1, 1e-3, 2e-3, 0, true},
    {"resnet18_gelu_average", {"sgd"}, 3, 1e-3, 1e-4, 1e-3, true},
    {"resnet50", {"sgd"}, 1, 1e-3, 2e-3, 0, true},
    {"resnet50_small_blocks", {"sgd"}, 3, 1e-3, 2e-3, 0, true},
    {"resnet50_gelu", {"sgd"}, 3, 1e-3, 1e-4, 1e-3, true},
    {"squeezenet", {"sgd"}, 3, 1e-3, 2e-3, 2e-2},
    {"squeezenet_small", {"sgd"}, 3, 1e-3, 2e-3, 2e-2},
    {"mobilenetv2", {"sgd"}, 3, 1e-3, 2e-3, 5e-2, true},
    {"mobilenetv2_small", {"sgd"}, 3, 1e-3, 2e-3, 5e-2, true},
    {"vit", {"sgd"}, 3, 2e-5, 1e-5, 1e-4, true},
    {"mobilenetv3_small", {"sgd"}, 3, 1e-3, 2e-3, 1e-3, true},
    {"mobilenetv3_small_small", {"sgd"}, 3, 1e-3, 2e-3, 1e-3, true},
    {"mobilenetv3_large", {"sgd"}, 3, 1e-3, 2e-3, 2e-2, true},
    {"mobilenetv3_large_small", {"sgd"}, 3, 1e-3, 2e-3, 2e-2, true},
    {"densenet121", {"sgd"}, 3, 1e-3, 2e-3, 6e-2, true},
    {"densenet121_small", {"sgd"}, 3, 1e-3, 2e-3, 6e-2, true},
};
template <class Keep>
std::vector<Case> cases_that(const Keep& keep) {
  std::vector<Case> kept;
  std::copy_if(std::begin(cases), std::end(cases), std::back_inserter(kept), keep);
  return kept;
}
const auto name = [](const auto& info) { return info.param.name; };
INSTANTIATE_TEST_SUITE_P(Models, GoldenModel, testing::ValuesIn(cases), name);
INSTANTIATE_TEST_SUITE_P(Models, GoldenGradients,
                         testing::ValuesIn(cases_that([](const Case& c) { return c.gradients > 0; })), name);
INSTANTIATE_TEST_SUITE_P(Models, GoldenNorms,
                         testing::ValuesIn(cases_that([](const Case& c) { return c.norms; })), name);

}  // namespace
}  // namespace espalier
