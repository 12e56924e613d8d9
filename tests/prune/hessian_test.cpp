#include "espalier/prune/hessian.h"

#include <gtest/gtest.h>

#include <cmath>

#include "espalier/graph/op.h"
#include "prune/hand_made.h"
#include "prune/small_net.h"

namespace espalier {
namespace {

/// x + dx e, e^2 = 0: arithmetic on it differentiates exactly.
struct Dual {
  double x = 0, dx = 0;
  Dual(double value = 0, double tangent = 0) : x(value), dx(tangent) {}
};
Dual operator+(Dual a, Dual b) { return {a.x + b.x, a.dx + b.dx}; }
Dual operator-(Dual a, Dual b) { return {a.x - b.x, a.dx - b.dx}; }
Dual operator*(Dual a, Dual b) { return {a.x * b.x, a.dx * b.x + a.x * b.dx}; }
Dual operator/(Dual a, Dual b) { return {a.x / b.x, (a.dx * b.x - a.x * b.dx) / (b.x * b.x)}; }
Dual exp(Dual a) { return {std::exp(a.x), std::exp(a.x) * a.dx}; }

constexpr int64_t in = 6, hidden = 5, classes = 4, images = 7;

/// The gradient of the mean cross-entropy of W2 relu(W1 x + b1) + b2 over T, with respect to both matrices,
/// by hand.
struct Mlp {
  std::vector<Dual> w1, b1, w2, b2;

  std::vector<Dual> gradient(const Doubles& x, const std::vector<int>& labels, double temperature) const {
    std::vector<Dual> g(w1.size() + w2.size());
    for (int64_t n = 0; n < images; ++n) {
      std::vector<Dual> h(hidden), z(classes), dh(hidden);
      Dual total;
      for (int64_t i = 0; i < hidden; ++i) {
        h[i] = b1[i];
        for (int64_t k = 0; k < in; ++k) h[i] = h[i] + w1[i * in + k] * Dual(x[n * in + k]);
        if (h[i].x <= 0) h[i] = 0;
      }
      for (int64_t c = 0; c < classes; ++c) {
        z[c] = b2[c];
        for (int64_t i = 0; i < hidden; ++i) z[c] = z[c] + w2[c * hidden + i] * h[i];
        z[c] = z[c] / Dual(temperature);
        total = total + exp(z[c]);
      }
      for (int64_t c = 0; c < classes; ++c) {
        const Dual dz = (exp(z[c]) / total - Dual(labels[n] == c)) / Dual(images * temperature);
        for (int64_t i = 0; i < hidden; ++i) {
          g[w1.size() + c * hidden + i] = g[w1.size() + c * hidden + i] + dz * h[i];
          if (h[i].x > 0) dh[i] = dh[i] + dz * w2[c * hidden + i];
        }
      }
      for (int64_t i = 0; i < hidden; ++i)
        for (int64_t k = 0; k < in; ++k) g[i * in + k] = g[i * in + k] + dh[i] * Dual(x[n * in + k]);
    }
    return g;
  }
};

struct Example {
  SmallNet net;
  Linear &fc1 = net.linear("fc1", in, hidden), &fc2 = net.linear("fc2", hidden, classes);
  SignalBatch batch{random_tensor({images, 1, 1, in}, 9), {}};
  std::vector<int> labels;
  Mlp mlp;

  Example() {
    net.pass = [this](const Variable& x) { return fc2.forward(relu(fc1.forward(ops::flatten(x)))); };
    uint64_t seed = 20;
    for (Parameter* parameter : net.parameters())
      parameter->value() = random_tensor(parameter->shape(), ++seed);
    for (int n = 0; n < images; ++n) labels.push_back(n % classes);
    batch.labels = Tensor::from({images}, std::vector<int32_t>(labels.begin(), labels.end()));
    const auto duals = [&](const char* name) {
      std::vector<Dual> made;
      for (const float value : net.find(name)->value().span<float>()) made.emplace_back(value);
      return made;
    };
    mlp = {duals("fc1.weight"), duals("fc1.bias"), duals("fc2.weight"), duals("fc2.bias")};
  }
  Parameter& w1() { return *net.find("fc1.weight"); }
  Parameter& w2() { return *net.find("fc2.weight"); }
};

TEST(Hessian, ProductIsTheExactOneOfASmallMlp) {
  for (const double temperature : {1.0, 5.0}) {
    Example example;
    const Tensor v1 = random_tensor(example.w1().shape(), 31), v2 = random_tensor(example.w2().shape(), 32);
    const Graph graph = with_activations_apart(Network(example.net, {1, 1, in}).graph);
    example.net.set_training(false);
    add_hessian_product(example.net, graph, example.batch, temperature,
                        {{&example.w1(), v1}, {&example.w2(), v2}});
    for (size_t i = 0; i < example.mlp.w1.size(); ++i) example.mlp.w1[i].dx = v1.f32()[i];
    for (size_t i = 0; i < example.mlp.w2.size(); ++i) example.mlp.w2[i].dx = v2.f32()[i];
    const auto exact =
        example.mlp.gradient(doubles(example.batch.images.span<float>()), example.labels, temperature);
    double largest = 0;
    for (const Dual& one : exact) largest = std::max(largest, std::abs(one.dx));
    ASSERT_GT(largest, 0.01);
    for (size_t i = 0; i < exact.size(); ++i) {
      const bool first = i < example.mlp.w1.size();
      const float found =
          first ? example.w1().gradient().f32()[i] : example.w2().gradient().f32()[i - example.mlp.w1.size()];
      EXPECT_NEAR(found, exact[i].dx, 1e-6 * largest) << i << " at temperature " << temperature;
    }
  }
}

TEST(Hessian, SignalIsTheHessianTimesTheGradient) {
  Example example;
  Criterion grasp = criteria().named("grasp");
  grasp.chosen = {{"temperature", 2.0}};
  const Signals signals =
      gather_signals(example.net, {1, 1, in}, grasp,
                     {.batches = 1, .batch = [&](int64_t) { return example.batch; }, .loss = {}});
  const Doubles x = doubles(example.batch.images.span<float>());
  const auto gradient = example.mlp.gradient(x, example.labels, 2);
  const size_t first = example.mlp.w1.size();
  for (size_t i = 0; i < gradient.size(); ++i)
    (i < first ? example.mlp.w1[i] : example.mlp.w2[i - first]).dx = gradient[i].x;
  const auto exact = example.mlp.gradient(x, example.labels, 2);
  double largest = 0;
  for (const Dual& one : exact) largest = std::max(largest, std::abs(one.dx));
  for (size_t i = 0; i < exact.size(); ++i) {
    const Parameter& of = i < first ? example.w1() : example.w2();
    EXPECT_NEAR(signals.of_parameters.at(&of).f32()[i < first ? i : i - first], exact[i].dx, 1e-6 * largest);
  }
  EXPECT_EQ(signals.of_parameters.count(example.net.find("fc1.bias")), 0u) << "only weights count";
  EXPECT_FALSE(example.w1().gradient().defined());
}

TEST(Hessian, AnOpWithoutATangentIsNamed) {
  SmallNet net;
  Linear& fc = net.linear("fc", 2, 2);
  net.pass = [&](const Variable& x) { return ops::softmax(fc.forward(ops::flatten(x))); };
  const SignalBatch batch{random_tensor({2, 1, 1, 2}, 1), Tensor::from({2}, std::vector<int32_t>{0, 1})};
  const Graph graph = Network(net, {1, 1, 2}).graph;
  EXPECT_EQ(
      message_of<Error>([&] {
        add_hessian_product(net, graph, batch, 1, {{net.find("fc.weight"), Tensor::full({2, 2}, 1)}});
      }),
      "prune: products with the Hessian need the tangent of every op, and of softmax there is none yet");
}

}  // namespace
}  // namespace espalier
