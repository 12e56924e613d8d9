#include "espalier/nn/init.h"

#include <gtest/gtest.h>

#include "espalier/nn/layers.h"
#include "espalier/nn/models/models.h"
#include "espalier/nn/state_dict.h"
#include "support/bad_input.h"
#include "support/numbers.h"

namespace espalier {
namespace {

TEST(Init, BoundsAndSpreadAreThoseOfPyTorch) {
  const auto model = make_model({.type = "lenet5"}, 3);
  const std::pair<const char*, double> fan_in[] = {{"conv1", 25}, {"conv2", 500}, {"fc1", 800}, {"fc2", 500}};
  for (const auto& [layer, inputs] : fan_in)
    for (const char* kind : {".weight", ".bias"}) {
      const Tensor& value = model->find(layer + std::string(kind))->value();
      const double bound = 1 / std::sqrt(inputs), n = static_cast<double>(value.elements());
      double sum = 0, squares = 0;
      for (const double v : value.span<float>()) {
        ASSERT_LE(std::abs(v), bound * (1 + 1e-7)) << layer << kind;
        sum += v;
        squares += v * v;
      }
      EXPECT_NEAR(sum / n, 0, 4 * bound / std::sqrt(3 * n)) << layer << kind;
      EXPECT_NEAR(squares / n, bound * bound / 3, 4 * bound * bound * std::sqrt(4.0 / 45 / n))
          << layer << kind;
    }
}

// From a script of a few lines that follows init.h and random.h.
TEST(Init, TheFormulaCountsInFileLayout) {
  const NamedTensors tensors = state_dict(*make_model({.type = "lenet5"}, 7));
  const auto number = [&](size_t tensor, int64_t i) { return tensors[tensor].second.f32()[i]; };
  EXPECT_FLOAT_EQ(number(0, 0), -0.12387700378894806f);
  EXPECT_FLOAT_EQ(number(0, 1), -0.04571092128753662f);
  EXPECT_FLOAT_EQ(number(0, 499), -0.018367480486631393f);
  EXPECT_FLOAT_EQ(number(2, ((1 * 20 + 2) * 5 + 3) * 5 + 4), 0.02233405038714409f) << "[1, 2, 3, 4] of OIHW";
  EXPECT_FLOAT_EQ(number(4, 2 * 800 + 3 * 16 + 5), -0.018155980855226517f)
      << "channel 3, pixel 5 of [50, 4, 4]";
  EXPECT_FLOAT_EQ(number(5, 9), 0.000818268395960331f) << "a bias has its weight's bound";
  EXPECT_FLOAT_EQ(number(7, 9), -0.03872114419937134f);
}

// From the same script.
TEST(Init, EachRuleByItsFormula) {
  const auto number = [](const char* rule, size_t tensor, int64_t i) {
    return state_dict(*make_model({.type = "lenet5", .init = rule}, 7))[tensor].second.f32()[i];
  };
  EXPECT_FLOAT_EQ(number("kaiming_normal", 0, 0), -0.13840797131204527f);
  EXPECT_FLOAT_EQ(number("kaiming_normal", 0, 1), 0.12967305570892695f);
  EXPECT_FLOAT_EQ(number("kaiming_normal", 0, 499), 0.022089759601598587f);
  const int64_t at = ((1 * 20 + 2) * 5 + 3) * 5 + 4;  // [1, 2, 3, 4] of OIHW
  EXPECT_FLOAT_EQ(number("kaiming_uniform", 2, at), 0.054707027427182434f);
  EXPECT_FLOAT_EQ(number("xavier_uniform", 2, at), 0.02924213618305168f);
  EXPECT_EQ(number("pytorch", 2, at), number(ModelOptions().init.c_str(), 2, at)) << "is the default";
}

// Of 16 x 3 x 3 x 4 in 2 groups of 4 inputs each fan_in is 36 and, as torch.nn.init counts it, fan_out 144.
TEST(Init, SpreadsAreThoseOfTorchNnInit) {
  const std::pair<const char*, double> variances[] = {{"pytorch", 1.0 / 3 / 36},
                                                      {"kaiming_normal", 2.0 / 36},
                                                      {"kaiming_uniform", 2.0 / 36},
                                                      {"xavier_uniform", 2.0 / (36 + 144)}};
  EXPECT_EQ(std::size(variances), init_rules().names().size());
  for (const auto& [rule, variance] : variances) {
    double sum = 0, squares = 0, n = 0;
    for (uint64_t seed = 0; seed < 100; ++seed) {
      Conv2d conv(8, 16, 3, {.groups = 2});
      initialize(conv, seed, rule);
      for (const double v : conv.find("weight")->value().span<float>()) {
        sum += v;
        squares += v * v;
        ++n;
      }
      for (const float v : conv.find("bias")->value().span<float>())
        EXPECT_EQ(v == 0 && !std::signbit(v), std::string(rule) != "pytorch") << rule;
    }
    EXPECT_NEAR(sum / n, 0, 4 * std::sqrt(variance / n)) << rule;
    EXPECT_NEAR(squares / n / variance, 1, 4 * std::sqrt(2 / n)) << rule;
  }
}

TEST(Init, AnUnknownRuleIsToldWithTheNearest) {
  EXPECT_EQ(message_of([] { make_model({.type = "lenet5", .init = "kaimin_normal"}, 7); }),
            "init rule: no type 'kaimin_normal', did you mean 'kaiming_normal'?");
}

TEST(Init, EmbeddingsHaveABoundOfTheirOwnAndLeaveThatOfBiases) {
  class Net : public Module {
   public:
    Net() {
      add_child<Linear>("a", 100, 7, false);
      add_child<Embedding>("tokens", Shape{1, 50, 40});
    }
    Variable forward(const Variable& x) override { return x; }
    std::string type() const override { return "net"; }
  } net;
  initialize(net, 3);
  double squares = 0;
  for (const double v : net.find("tokens")->value().span<float>()) {
    ASSERT_LE(std::abs(v), 0.02 * std::sqrt(3.0) * (1 + 1e-7));
    squares += v * v / 2000;
  }
  EXPECT_NEAR(std::sqrt(squares), 0.02, 0.001);
}

TEST(Init, TheSeedDecides) {
  const auto a = make_model({}, 1), b = make_model({}, 1), c = make_model({}, 2);
  for (size_t i = 0; i < a->parameters().size(); ++i) {
    EXPECT_TRUE(same_bits(a->parameters()[i]->value(), b->parameters()[i]->value()));
    EXPECT_FALSE(same_bits(a->parameters()[i]->value(), c->parameters()[i]->value()));
  }
}

TEST(Init, NormsAndBuffersKeepTheirs) {
  class Norm : public Module {
   public:
    Norm() {
      add_parameter("weight", Role::scale, Tensor::full({4}, 1));
      add_parameter("running_mean", Role::buffer, Tensor::full({4}, 0.5));
    }
    Variable forward(const Variable& x) override { return x; }
    std::string type() const override { return "norm"; }
  } norm;
  initialize(norm, 1);
  EXPECT_EQ(norm.find("weight")->value().f32()[3], 1.0f);
  EXPECT_EQ(norm.find("running_mean")->value().f32()[3], 0.5f);
}

}  // namespace
}  // namespace espalier
