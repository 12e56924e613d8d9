// Every op of the catalogue: a row that lacks something is named here.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <regex>

#include "espalier/graph/kernels.h"
#include "espalier/graph/op.h"
#include "espalier/graph/trace.h"
#include "graph/op_sample.h"
#include "support/numbers.h"
#include "support/places.h"

namespace espalier {
namespace {

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

/// scripts/load_in_torch.py has a function for it that takes its inputs and attributes by their names.
TEST_P(Catalogue, IsReadByThePyTorchLoader) {
  if (!op.run) GTEST_SKIP() << "a loss, which is no part of a network";
  std::ifstream file(source_folder() + "/scripts/load_in_torch.py");
  const std::string loader(std::istreambuf_iterator<char>(file), {});
  std::smatch found;
  ASSERT_TRUE(std::regex_search(loader, found, std::regex("\ndef op_" + op.name + "\\(([^)]*)\\):")))
      << "has no op_" << op.name;
  std::vector<std::string> words;
  const std::string signature = found[1];
  const std::regex word("([*a-z_0-9]+)(=[^,]*)?(, )?");
  for (std::sregex_iterator each(signature.begin(), signature.end(), word), end; each != end; ++each)
    words.push_back((*each)[1]);
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
    EXPECT_TRUE(op->name == "softmax_cross_entropy" || op_samples().contains(op->name))
        << op->name << " has no sample (op_sample.h), and so is not tried";
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
