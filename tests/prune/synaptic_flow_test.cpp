#include "espalier/prune/synaptic_flow.h"

#include <gtest/gtest.h>

#include <cmath>

#include "prune/hand_made.h"
#include "prune/small_net.h"
#include "prune/zoo.h"

namespace espalier {
namespace {

Signals flow_of(Module& model, const Shape& input) {
  return gather_signals(model, input, criteria().named("synflow"), {});
}

/// A chain of linear layers of the given widths, with relu between them and without biases.
struct Chain : SmallNet {
  explicit Chain(const std::vector<int64_t>& widths) {
    std::vector<Linear*> layers;
    for (size_t i = 0; i + 1 < widths.size(); ++i)
      layers.push_back(&add_child<Linear>("fc" + std::to_string(i), widths[i], widths[i + 1], false));
    pass = [layers](const Variable& x) {
      Variable y = ops::flatten(x);
      for (size_t i = 0; i < layers.size(); ++i) y = i ? layers[i]->forward(relu(y)) : layers[i]->forward(y);
      return y;
    };
  }
  Parameter& weight(size_t i) { return *find("fc" + std::to_string(i) + ".weight"); }
};

TEST(SynapticFlow, OfTwoLayersByHand) {
  Chain chain({2, 2, 1});
  chain.weight(0).value() = Tensor::from({2, 2}, Floats{1, -2, 3, 4});
  chain.weight(1).value() = Tensor::from({1, 2}, Floats{5, -6});
  // On ones |W1| makes 3 and 7, R = 5 x 3 + 6 x 7 = 57; dR/d|w1| = 5 5 6 6, dR/d|w2| = 3 7.
  const Signals flow = flow_of(chain, {1, 1, 2});
  const Floats first = numbers(flow.of_parameters.at(&chain.weight(0))),
               second = numbers(flow.of_parameters.at(&chain.weight(1)));
  const float factor = first[0] / 5;  // that all have in common, a power of two
  EXPECT_EQ(std::log2(factor), std::round(std::log2(factor)));
  EXPECT_EQ(first, (Floats{5 * factor, 5 * factor, 6 * factor, 6 * factor}));
  EXPECT_EQ(second, (Floats{3 * factor, 7 * factor}));
  EXPECT_EQ(numbers(chain.weight(0).value()), (Floats{1, -2, 3, 4})) << "signs stay";
}

/// Sums of |w dR/dw| of a layer, for each.
std::vector<double> totals(Module& model, const Signals& flow) {
  std::vector<double> sums;
  for (const Parameter* parameter : model.parameters()) {
    if (parameter->role != Role::weight) continue;
    double sum = 0;
    for (int64_t i = 0; i < parameter->shape().elements(); ++i)
      sum += std::abs(double{parameter->value().f32()[i]} * flow.of_parameters.at(parameter).f32()[i]);
    sums.push_back(sum);
  }
  return sums;
}

/// R of it, about 1e120, is no float, and neither is the tenth of layers' gradients.
TEST(SynapticFlow, IsConservedByEveryLayerOfADeepNetworkToo) {
  Chain chain(std::vector<int64_t>(61, 100));
  uint64_t seed = 0;
  for (Parameter* parameter : chain.parameters())
    parameter->value() = random_tensor(parameter->shape(), ++seed, -2.0, 2.0);
  const auto sums = totals(chain, flow_of(chain, {1, 1, 100}));
  ASSERT_EQ(sums.size(), 60u);
  for (const double sum : sums) EXPECT_NEAR(sum / sums[0], 1, 1e-5);
}

TEST(SynapticFlow, GoesThroughNormsSumsAndPooling) {
  for (const char* type : {"vgg11", "resnet20"}) {
    SCOPED_TRACE(type);
    const auto model = random_model(type, 3);
    const Signals flow = flow_of(*model, small_image);
    size_t some = 0;
    for (const auto& [parameter, gradient] : flow.of_parameters)
      for (const float number : gradient.span<float>()) {
        ASSERT_TRUE(std::isfinite(number)) << parameter->name;
        ASSERT_GE(number, 0) << parameter->name;
        some += number > 0;
      }
    EXPECT_GT(some, 1000u);
  }
}

TEST(SynapticFlow, AnOpThatDoesNotScaleIsNamed) {
  SmallNet net;
  Linear& fc = net.linear("fc", 2, 2);
  net.pass = [&](const Variable& x) {
    return ops::activation(fc.forward(ops::flatten(x)), Activation::gelu);
  };
  EXPECT_EQ(
      message_of<Error>([&] {
        flow_of(net, {1, 1, 2});
      }),
      "prune: synflow needs a network whose ops scale with their inputs, as relu does, and activation gelu "
      "does not");
}

}  // namespace
}  // namespace espalier
