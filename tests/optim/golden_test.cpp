// Whole models against PyTorch: logits and gradients of the first batch, and the training losses step by
// step, recorded by bench/golden.py. Weights, images and labels come from bench/formula.py's formula on both
// sides.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "espalier/autograd/ops.h"
#include "espalier/core/random.h"
#include "espalier/nn/models/models.h"
#include "espalier/nn/state_dict.h"
#include "espalier/optim/optimizer.h"

namespace espalier {
namespace {

using Json = nlohmann::json;

/// Purposes of the golden data set's streams.
enum Stream : uint64_t { KIND = uint64_t{1} << 32, NOISE, PROTOTYPE, DOUBT, GUESS, PROBE };

struct Batch {
  Variable images;  ///< [N,H,W,C]
  Tensor labels;    ///< i32 [N]
};

/// Batch `step` (from 0), as golden_batch in bench/formula.py.
Batch golden_batch(uint64_t seed, int64_t step, int64_t size, const Shape& shape, int64_t classes) {
  Tensor images = Tensor::empty({size, shape[0], shape[1], shape[2]});
  Tensor labels = Tensor::empty({size}, DType::i32);
  const auto key = [&](Stream stream) { return random_key(seed, stream); };
  const int64_t elements = shape.elements();
  for (int64_t i = 0; i < size; ++i) {
    const int64_t n = step * size + i, kind = random_below(key(KIND), n, classes);
    float* image = images.f32() + i * elements;
    for (int64_t e = 0; e < elements; ++e)
      image[e] = random_uniform(key(PROTOTYPE), kind * elements + e) +
                 random_uniform(key(NOISE), n * elements + e) - 1.0f;
    const bool doubt = random_uniform(key(DOUBT), n) < 0.25f;
    labels.data<int32_t>()[i] = static_cast<int32_t>(doubt ? random_below(key(GUESS), n, classes) : kind);
  }
  return {Variable(images), labels};
}

OptimizerOptions optimizer_options(const Json& json) {
  OptimizerOptions o;
  o.type = json.at("type");
  o.lr = json.at("lr");
  o.momentum = json.value("momentum", 0.0);
  o.nesterov = json.value("nesterov", false);
  o.weight_decay = json.value("weight_decay", 0.0);
  return o;
}

/// One file of tests/golden.
class Golden {
 public:
  explicit Golden(const std::string& name) {
    const std::string path = ESPALIER_SOURCE_DIR "/tests/golden/" + name + ".json";
    std::ifstream file(path);
    if (!file) fail(path, ": cannot be read");
    record_ = Json::parse(file);
    options_.type = record_.at("model").at("type");
    options_.activation = record_.at("model").value("activation", "relu");
    options_.pool = record_.at("model").value("pool", "max");
    seed_ = record_.at("seed");
  }

  const Json& operator[](const std::string& key) const { return record_.at(key); }
  uint64_t seed() const { return seed_; }
  std::unique_ptr<Module> model() const { return make_model(options_, seed_); }
  Batch batch(int64_t step) const {
    return golden_batch(seed_, step, record_.at("batch"), options_.input, options_.classes);
  }

 private:
  Json record_;
  ModelOptions options_;
  uint64_t seed_;
};

class GoldenModel : public testing::TestWithParam<std::string> {};

TEST_P(GoldenModel, LogitsOfTheFirstBatch) {
  const Golden golden(GetParam());
  const NoGradient inference;
  const auto model = golden.model();
  const Tensor logits = model->forward(golden.batch(0).images).value();
  const auto expected = golden["logits"].get<std::vector<std::vector<float>>>();
  ASSERT_GE(expected.size(), 2u);
  for (size_t n = 0; n < expected.size(); ++n)
    for (size_t k = 0; k < expected[n].size(); ++k)
      EXPECT_NEAR(logits.f32()[n * expected[n].size() + k], expected[n][k], 2e-6)
          << "image " << n << ", class " << k;
}

TEST_P(GoldenModel, GradientsOfTheFirstBatch) {
  const Golden golden(GetParam());
  const auto model = golden.model();
  const Batch batch = golden.batch(0);
  ops::softmax_cross_entropy(model->forward(batch.images), batch.labels).loss.backward();
  uint64_t place = 0;
  ASSERT_EQ(model->parameters().size(), golden["gradients"].size());
  for (Parameter* parameter : model->parameters()) {
    const Json& expected = golden["gradients"].at(parameter->name);
    const Tensor gradient = to_file_layout(*parameter, parameter->gradient());
    double squares = 0, along = 0;
    for (int64_t i = 0; i < gradient.elements(); ++i) {
      const double g = gradient.f32()[i];
      squares += g * g;
      along += g * (2.0 * random_uniform(random_key(golden.seed(), PROBE), (place << 32) + i) - 1.0);
    }
    ++place;
    const double norm = expected.at("norm");
    EXPECT_NEAR(std::sqrt(squares), norm, 1e-5 * norm) << parameter->name;
    EXPECT_NEAR(along, expected.at("projection").get<double>(), 1e-5 * norm) << parameter->name;
  }
}

class GoldenTraining : public testing::TestWithParam<std::tuple<std::string, std::string>> {};

TEST_P(GoldenTraining, Losses) {
  const auto& [name, run] = GetParam();
  const Golden golden(name);
  const auto model = golden.model();
  const OptimizerOptions options = optimizer_options(golden["runs"].at(run).at("optimizer"));
  const auto optimizer = make_optimizer(options, model->parameters());
  const auto expected = golden["runs"].at(run).at("losses").get<std::vector<double>>();
  // ReLU and max amplify rounding, so that LeNet-5 with both is followed for ten steps only.
  const bool amplifies = name == "lenet5";
  ASSERT_EQ(expected.size(), amplifies ? 10u : 100u);
  const double tolerance = amplifies ? 1e-3 : 1e-4;
  double worst = 0;
  for (size_t step = 0; step < expected.size(); ++step) {
    const Batch batch = golden.batch(static_cast<int64_t>(step));
    const Variable loss = ops::softmax_cross_entropy(model->forward(batch.images), batch.labels).loss;
    worst = std::max(worst, std::abs(loss.value().item() - expected[step]) / expected[step]);
    ASSERT_LT(worst, tolerance) << "at step " << step + 1;
    loss.backward();
    optimizer->step(options.lr);
    optimizer->clear_gradients();
  }
  RecordProperty("worst_relative_departure", fmt::format("{:.1e}", worst));
}

const auto models = testing::Values("mlp", "lenet300", "lenet5_gelu_average", "lenet5");
INSTANTIATE_TEST_SUITE_P(Models, GoldenModel, models, [](const auto& info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(Models, GoldenTraining,
                         testing::Combine(models, testing::Values("sgd", "nesterov", "adam", "adamw")),
                         [](const auto& info) {
                           return std::get<0>(info.param) + "_" + std::get<1>(info.param);
                         });

}  // namespace
}  // namespace espalier
