#include "espalier/nn/network.h"

#include <gtest/gtest.h>

#include "espalier/nn/layers.h"
#include "espalier/nn/models/models.h"
#include "support/bad_input.h"
#include "support/numbers.h"

namespace espalier {
namespace {

TEST(Network, CountsTheModelsExactly) {
  const std::tuple<ModelOptions, int64_t, int64_t> models[] = {
      {{.type = "mlp"}, 235146, 234752},
      {{.type = "lenet300"}, 266610, 266200},
      {{.type = "lenet5"}, 431080, 2293000},
  };
  for (const auto& [options, parameters, macs] : models) {
    const auto model = make_model(options, 0);
    const Network network(*model, options.input);
    EXPECT_EQ(network.totals.parameters, parameters) << options.type;
    EXPECT_EQ(network.totals.macs, macs) << options.type;
    EXPECT_EQ(network.totals.bytes, 4 * parameters) << options.type;
    EXPECT_EQ(network.totals.nonzeros + network.totals.weight_zeros, parameters) << "no bias is 0";
  }
}

TEST(Network, RowsOfLeNet5) {
  const auto model = make_model({.type = "lenet5"}, 0);
  const Network network(*model, {28, 28, 1});
  const std::tuple<const char*, const char*, Shape, int64_t, int64_t> rows[] = {
      {"conv1", "conv2d", {20, 1, 5, 5}, 520, 24 * 24 * 20 * 25},
      {"conv2", "conv2d", {50, 20, 5, 5}, 25050, 8 * 8 * 50 * 500},
      {"fc1", "linear", {500, 800}, 400500, 400000},
      {"fc2", "linear", {10, 500}, 5010, 5000}};
  ASSERT_EQ(network.layers.size(), std::size(rows));
  for (size_t i = 0; i < std::size(rows); ++i) {
    const LayerRow& row = network.layers[i];
    EXPECT_EQ(std::tie(row.name, row.type, row.shape, row.parameters, row.macs),
              std::make_tuple(std::string(std::get<0>(rows[i])), std::string(std::get<1>(rows[i])),
                              std::get<2>(rows[i]), std::get<3>(rows[i]), std::get<4>(rows[i])));
  }
}

TEST(Network, RecordsItsOwnPassAlone) {
  const auto model = make_model({.type = "lenet5", .input = {28, 28, 1}}, 0);
  const Network network(*model, {28, 28, 1});
  const size_t ops = network.graph.nodes.size();
  EXPECT_EQ(OpObserver::active(), nullptr);
  model->forward(Variable(Tensor::zeros({2, 28, 28, 1})));
  EXPECT_EQ(network.graph.nodes.size(), ops);
}

TEST(Network, SparsityIsTheShareOfZeroWeights) {
  const auto model = make_model({.type = "lenet300"}, 0);
  Tensor mask = Tensor::zeros({100, 300}, DType::u8);
  std::fill_n(mask.data<uint8_t>(), 7500, uint8_t{1});
  model->find("fc2.weight")->set_mask(mask);
  model->find("fc2.bias")->value().fill(0);  // not counted
  const Network network(*model, {28, 28, 1});
  EXPECT_EQ(network.layers[1].sparsity(), 0.75);
  EXPECT_EQ(network.layers[1].nonzeros, 7500);
  EXPECT_EQ(network.layers[1].macs, 30000) << "as if dense";
  EXPECT_EQ(network.layers[0].sparsity(), 0.0);
  EXPECT_EQ(network.totals.weights, 266200);
  EXPECT_EQ(network.totals.weight_zeros, 22500);
  EXPECT_DOUBLE_EQ(network.totals.sparsity(), 22500.0 / 266200);
  EXPECT_EQ(network.totals.nonzeros, 266610 - 22500 - 100);
  EXPECT_EQ(LayerRow{}.sparsity(), 0.0) << "no weights, no division";
}

TEST(Network, GroupsStrideAndASharedLayer) {
  class Net : public Module {
   public:
    Net() {
      grouped_ =
          &add_child<Conv2d>("grouped", 4, 6, 3, ops::Conv2dOptions{.stride = 2, .pad = 1, .groups = 2});
      twice_ = &add_child<Conv2d>("twice", 6, 6, 1);
    }
    Variable forward(const Variable& x) override { return (*twice_)((*twice_)((*grouped_)(x))); }
    std::string type() const override { return "net"; }

   private:
    Conv2d *grouped_, *twice_;
  } net;
  const Network network(net, {7, 9, 4});
  EXPECT_EQ(network.layers[0].macs, 4 * 5 * 6 * 9 * 2);
  EXPECT_EQ(network.layers[1].macs, 2 * 4 * 5 * 36);
  EXPECT_EQ(network.layers[1].parameters, 42) << "counted once";
}

TEST(Network, LeavesTheModelAsItWas) {
  const auto model = make_model({}, 0);
  model->set_training(true);
  const Network first(*model, {28, 28, 1});
  EXPECT_TRUE(model->training());
  model->set_training(false);
  const Network second(*model, {28, 28, 1});
  EXPECT_FALSE(model->training());
}

TEST(Network, ALayerThatIsNoChildIsRefused) {
  class Plain : public Module {
   public:
    Variable forward(const Variable& x) override { return conv_.forward(x); }
    std::string type() const override { return "plain"; }

   private:
    Conv2d conv_{3, 4, 3};
  } plain;
  EXPECT_EQ(message_of([&] {
              Network(plain, {8, 8, 3});
            }),
            "network: a conv2d computes with a parameter 'weight' that is not the model's: add_child makes "
            "layers that are");
}

TEST(Network, AnInputThatIsNoImageIsRefused) {
  const auto model = make_model({}, 0);
  EXPECT_EQ(message_of([&] {
              Network(*model, {28, 28});
            }),
            "network: expects one image [H,W,C], found [28, 28]");
}

}  // namespace
}  // namespace espalier
