// Every op of the catalogue: a row that lacks something is named here.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>

#include "espalier/graph/kernels.h"
#include "espalier/graph/op.h"
#include "espalier/graph/trace.h"
#include "graph/op_sample.h"
#include "support/formulas.h"
#include "support/numbers.h"
#include "support/places.h"

namespace espalier {
namespace {

std::string loader_text() {
  std::ifstream file(source_folder() + "/scripts/load_in_torch.py");
  return {std::istreambuf_iterator<char>(file), {}};
}

class Catalogue : public testing::TestWithParam<const Op*> {
 protected:
  const Op& op = *GetParam();
  const OpSample& sample = op_samples().at(op.name);

  OpInput row_of(size_t input) const { return op.inputs[std::min(input, op.inputs.size() - 1)]; }

  /// A node with the op; what has a role is a parameter.
  Graph graph() const {
    Graph made;
    GraphNode node{op.name, sample.attributes, {}, static_cast<int>(sample.inputs.size()), Channels::unknown};
    for (const Shape& shape : sample.inputs) {
      const size_t i = made.values.size();
      made.values.push_back({shape, row_of(i).role ? "p." + std::to_string(i) : ""});
      node.inputs.push_back(static_cast<int>(i));
    }
    made.values.push_back({});
    made.nodes.push_back(std::move(node));
    return made;
  }

  Variable run(const std::vector<Variable>& inputs) const {
    const Graph at = graph();
    return op.run({OpCall(at, at.nodes[0], op), inputs, false});
  }
};

TEST_P(Catalogue, RecordsWhatItsRowSays) {
  if (!op.run) GTEST_SKIP() << "a loss, which is no part of a network";
  Trace trace;
  std::vector<Variable> inputs;
  for (const Shape& shape : sample.inputs) inputs.emplace_back(Tensor::zeros(shape));
  run(inputs);
  ASSERT_EQ(trace.graph.nodes.size(), 1u);
  const GraphNode& node = trace.graph.nodes[0];
  EXPECT_EQ(node.op, op.name);
  EXPECT_NO_THROW(OpCall(trace.graph, node, op)) << "inputs or attributes are not the row's";
  EXPECT_NE(node.channels.rule, Channels::unknown) << "has no channel rule";
}

TEST_P(Catalogue, HasAGradient) {
  if (!op.run) GTEST_SKIP() << "a loss: tests/graph/ops/loss_test.cpp";
  std::vector<Tensor> at;
  for (size_t i = 0; i < sample.inputs.size(); ++i)
    at.push_back(random_tensor(sample.inputs[i], 3 + i, sample.low, sample.high));
  const auto variables = [&] {
    std::vector<Variable> made;
    for (size_t i = 0; i < at.size(); ++i) {
      made.emplace_back(at[i].clone(), row_of(i).role != Role::buffer);
    }
    return made;
  };
  const auto inputs = variables();
  Variable y = run(inputs);
  const Tensor seed = random_tensor(y.shape(), 1);
  y.backward(seed);
  const auto seen = [&] {
    const NoGradient off;
    const Tensor value = run(variables()).value();
    double sum = 0;
    for (int64_t i = 0; i < value.elements(); ++i) sum += double{seed.f32()[i]} * value.f32()[i];
    return sum;
  };
  for (size_t i = 0; i < at.size(); ++i) {
    if (!inputs[i].requires_gradient() || sample.without_gradient == i) continue;
    ASSERT_TRUE(inputs[i].gradient().defined()) << "none for input " << i;
    for (int64_t k = 0; k < at[i].elements(); ++k) {
      const float before = at[i].f32()[k], step = 2e-3f;
      at[i].f32()[k] = before + step;
      const double above = seen();
      at[i].f32()[k] = before - step;
      const double below = seen();
      at[i].f32()[k] = before;
      EXPECT_NEAR(inputs[i].gradient().f32()[k], (above - below) / (2 * double{step}), 5e-3)
          << "input " << i << " at " << k;
    }
  }
}

/// What an op's tangents are tried with: its sample, with the op's own activation left out.
struct Moving {
  const Op& op;
  Graph graph;
  std::vector<Tensor> at, direction;  // undefined where nothing moves

  Moving(const Op& of, Graph from, const OpSample& sample) : op(of), graph(std::move(from)) {
    for (auto& [name, value] : graph.nodes[0].attributes)
      if (name == op.activation)  // the op activation is made of straight pieces, or has no tangent
        value = std::string(op.name == "activation" ? "leaky_relu" : "none");
    for (size_t i = 0; i < sample.inputs.size(); ++i) {
      const OpInput& row = op.inputs[std::min(i, op.inputs.size() - 1)];
      at.push_back(random_tensor(sample.inputs[i], 3 + i, sample.low, sample.high));
      const bool moves = row.role != Role::buffer && sample.without_gradient != i;
      direction.push_back(moves ? random_tensor(sample.inputs[i], 30 + i) : Tensor());
    }
  }
  std::vector<Variable> variables(bool requires_gradient) const {
    std::vector<Variable> made;
    for (size_t i = 0; i < at.size(); ++i)
      made.emplace_back(at[i].clone(), requires_gradient && direction[i].defined());
    return made;
  }
  std::vector<Variable> tangents() const {
    std::vector<Variable> made;
    for (const Tensor& one : direction) made.push_back(one.defined() ? Variable(one) : Variable());
    return made;
  }
  OpCall call() const { return {graph, graph.nodes[0], op}; }
  Tensor output() const {
    const NoGradient off;
    return op.run({call(), variables(false), false}).value();
  }
  Tensor moved() const { return op.tangent({call(), variables(false)}, {call(), tangents()}).value(); }
  /// All that moves, by `step` times its direction.
  void move(float step) {
    for (size_t i = 0; i < at.size(); ++i)
      for (int64_t k = 0; direction[i].defined() && k < at[i].elements(); ++k)
        at[i].f32()[k] += step * direction[i].f32()[k];
  }
};

TEST_P(Catalogue, TangentIsHowTheOutputMoves) {
  if (!op.tangent) GTEST_SKIP() << "none is known";
  Moving all(op, graph(), sample);
  for (size_t alone = 0; alone <= all.at.size(); ++alone) {
    Moving one(op, graph(), sample);
    for (size_t i = 0; alone < all.at.size() && i < all.at.size(); ++i)
      if (i != alone) one.direction[i] = Tensor();
    if (std::ranges::none_of(one.direction, [](const Tensor& t) { return t.defined(); })) continue;
    const Tensor found = one.moved();
    constexpr float step = 1.0f / 1024;
    one.move(step);
    const Tensor above = one.output();
    one.move(-2 * step);
    const Tensor below = one.output();
    ASSERT_EQ(found.shape(), above.shape());
    for (int64_t k = 0; k < found.elements(); ++k)
      EXPECT_NEAR(found.f32()[k], (above.f32()[k] - below.f32()[k]) / (2 * step), 5e-3) << alone << ", " << k;
  }
}

TEST_P(Catalogue, TangentHasAGradient) {
  if (!op.tangent) GTEST_SKIP() << "none is known";
  Moving moving(op, graph(), sample);
  const std::vector<Variable> inputs = moving.variables(true);
  const Variable moved = op.tangent({moving.call(), inputs}, {moving.call(), moving.tangents()});
  const Tensor seed = random_tensor(moved.shape(), 1);
  if (!moved.requires_gradient()) GTEST_SKIP() << "is the same wherever it starts from";
  moved.backward(seed);
  const auto seen = [&] {
    const Tensor value = moving.moved();
    double sum = 0;
    for (int64_t i = 0; i < value.elements(); ++i) sum += double{seed.f32()[i]} * value.f32()[i];
    return sum;
  };
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].requires_gradient()) continue;
    for (int64_t k = 0; k < moving.at[i].elements(); ++k) {
      float& number = moving.at[i].f32()[k];
      const float before = number, step = 2e-3f;
      number = before + step;
      const double above = seen();
      number = before - step;
      const double below = seen();
      number = before;
      const float found = inputs[i].gradient().defined() ? inputs[i].gradient().f32()[k] : 0;
      EXPECT_NEAR(found, (above - below) / (2 * double{step}), 5e-3) << "input " << i << " at " << k;
    }
  }
}

TEST_P(Catalogue, FourTimesAsMuchComesOutOfFourTimesAsMuch) {
  Moving moving(op, graph(), sample);
  if (!op.homogeneous || !op.homogeneous(moving.call())) GTEST_SKIP() << "does not scale";
  const Tensor once = moving.output();
  for (size_t i = 0; i < moving.at.size(); ++i) {
    const OpInput& row = row_of(i);
    for (int64_t k = 0; (!row.role || row.adds) && k < moving.at[i].elements(); ++k)
      moving.at[i].f32()[k] *= 4;
  }
  const Tensor four = moving.output();
  for (int64_t k = 0; k < once.elements(); ++k) EXPECT_EQ(four.f32()[k], 4 * once.f32()[k]) << k;
}

TEST_P(Catalogue, HasAProfile) {
  if (sample.moves_nothing) {
    EXPECT_FALSE(op.kernels);
    return;
  }
  ASSERT_TRUE(op.kernels) << "gives no kernels, so profiles leave it out";
  Graph at = graph();
  for (GraphValue& value : at.values)  // of one image
    if (value.parameter.empty() && value.shape.axes() > 0) value.shape = value.shape.with(0, 1);
  if (op.run) {
    std::vector<Variable> inputs;
    for (const GraphValue& value : at.values)
      if (inputs.size() < sample.inputs.size()) inputs.emplace_back(Tensor::zeros(value.shape));
    at.values.back().shape = op.run({OpCall(at, at.nodes[0], op), inputs, false}).shape();
  }
  const std::vector<bool> gradients(sample.inputs.size(), true), none(sample.inputs.size(), false);
  const Pass training{.batch = 2}, inference{.batch = 2, .training = false};
  const OpCall call(at, at.nodes[0], op);
  const auto forward = op.kernels({call, inference, none, none}),
             both = op.kernels({call, training, gradients, gradients});
  EXPECT_GT(both.size(), forward.size()) << "no kernel of backward";
  for (const KernelCall& kernel : both) {
    EXPECT_GT(kernel.bytes, 0) << kernel.kernel;
    EXPECT_NO_THROW(kernel.call()) << kernel.kernel;
  }
}

/// What folding (channels/fold.h) takes for what a channel says whatever the image is what the op computes of
/// channels that say so.
TEST_P(Catalogue, ConstantsAreWhatItComputes) {
  if (!op.constants || op.takes_constants) GTEST_SKIP() << "keeps none, or makes them of its own";
  constexpr float said[] = {-0.7f, 0.3f, -0.1f, 1.4f};
  std::vector<Variable> inputs;
  std::vector<Constants> constants;
  for (size_t i = 0; i < sample.inputs.size(); ++i) {
    Tensor x = random_tensor(sample.inputs[i], 3 + i, sample.low, sample.high);
    const int64_t channels = sample.inputs[i][-1];
    Constants& one = constants.emplace_back();
    const bool passes = !row_of(i).role && sample.inputs[i].axes() > 1;
    for (int64_t k = 0; passes && k < x.elements(); ++k)
      x.f32()[k] = said[(k % channels + static_cast<int64_t>(i)) % 4];
    for (int64_t c = 0; passes && c < channels; ++c)
      one.emplace_back(said[(c + static_cast<int64_t>(i)) % 4]);
    inputs.emplace_back(x);
  }
  Trace trace;
  const Variable y = run(inputs);
  trace.close();
  const OpCall call(trace.graph, trace.graph.nodes.at(0), op);
  if (op.keeps_constants && !op.keeps_constants(call)) GTEST_SKIP() << "not at this place";
  const Constants found = op.constants({call, constants, {}});
  if (found.empty()) GTEST_SKIP() << "they are of its own numbers";
  ASSERT_EQ(y.shape()[-1] % static_cast<int64_t>(found.size()), 0);
  const Activation f = call.activation();
  for (int64_t k = 0; k < y.value().elements(); ++k) {
    const auto c = static_cast<size_t>(k % y.shape()[-1]) % found.size();
    if (found[c]) {
      EXPECT_NEAR(y.value().f32()[k], activated(f, *found[c]), 1e-6) << "channel " << c;
    }
  }
}

/// An op that works number by number may stand between a flatten and a linear layer in PyTorch, too, where
/// the numbers have another order: the loader's list says which.
TEST_P(Catalogue, IsElementwiseForThePyTorchLoaderIfItIs) {
  if (!op.run || sample.moves_nothing) GTEST_SKIP() << "is a loss, or moves nothing";
  std::vector<Variable> straight, turned;  // by one place
  bool alike = true;
  for (size_t i = 0; i < sample.inputs.size(); ++i) {
    const Tensor x = random_tensor(sample.inputs[i], 3 + i, sample.low, sample.high);
    Tensor back = x.clone();
    std::rotate(back.f32(), back.f32() + 1, back.f32() + back.elements());
    straight.emplace_back(x);
    turned.emplace_back(back);
    alike = alike && !row_of(i).role && sample.inputs[i] == sample.inputs[0];
  }
  bool elementwise = alike && run(straight).shape() == sample.inputs[0];
  if (elementwise) {
    const Tensor there = run(straight).value(), back = run(turned).value();
    for (int64_t k = 0; k < there.elements(); ++k)
      elementwise = elementwise && there.f32()[(k + 1) % there.elements()] == back.f32()[k];
  }
  const std::string loader = loader_text();
  const size_t list = loader.find("\nELEMENTWISE = {"), end = loader.find('}', list);
  ASSERT_NE(list, loader.npos);
  EXPECT_EQ(loader.substr(list, end - list).find('"' + op.name + '"') != loader.npos, elementwise);
}

/// scripts/load_in_torch.py has a function for it that takes its inputs and attributes by their names.
TEST_P(Catalogue, IsReadByThePyTorchLoader) {
  if (!op.run) GTEST_SKIP() << "a loss, which is no part of a network";
  const std::string loader = loader_text();
  const std::string head = "\ndef op_" + op.name + "(";
  const size_t begin = loader.find(head);
  ASSERT_NE(begin, loader.npos) << "has no op_" << op.name;
  const size_t first = begin + head.size();
  std::istringstream signature(loader.substr(first, loader.find("):", first) - first));
  std::vector<std::string> words;
  for (std::string word; std::getline(signature, word, ',');) {
    word = word.substr(word.find_first_not_of(' '));
    words.push_back(word.substr(0, word.find('=')));
  }
  std::vector<std::string> expected;
  for (const OpInput& input : op.inputs)
    expected.push_back((input.kind == OpInput::variadic ? "*" : "") + std::string(input.name));
  const std::vector<std::string> inputs(
      words.begin(), words.begin() + static_cast<std::ptrdiff_t>(std::min(words.size(), expected.size())));
  EXPECT_EQ(inputs, expected);
  for (const OpAttribute& attribute : op.attributes)
    EXPECT_TRUE(std::ranges::count(words, attribute.name)) << "does not take '" << attribute.name << "'";
}

TEST(CatalogueSamples, AreThereForEachOp) {
  for (const Op* op : op_catalogue())
    EXPECT_TRUE(op->name == "softmax_cross_entropy" || op->name == "softmax_kl_divergence" ||
                op_samples().contains(op->name))
        << op->name << " has no sample (op_sample.h), and so is not tried";
  for (const auto& [name, sample] : op_samples()) EXPECT_TRUE(find_op(name)) << name << " is no op";
}

std::vector<const Op*> with_samples() {
  std::vector<const Op*> ops;
  for (const Op* op : op_catalogue())
    if (op_samples().contains(op->name)) ops.push_back(op);
  return ops;
}
INSTANTIATE_TEST_SUITE_P(All, Catalogue, testing::ValuesIn(with_samples()),
                         [](const auto& info) { return info.param->name; });

}  // namespace
}  // namespace espalier
