#include "espalier/run/foreign_weights.h"

#include <gtest/gtest.h>

#include "espalier/nn/models/models.h"
#include "espalier/nn/state_dict.h"
#include "support/bad_input.h"

namespace espalier {
namespace {

using Names = std::vector<std::string>;

Names names_of(const TensorFile& file) {
  Names names;
  for (const auto& [name, tensor] : file.tensors) names.push_back(name);
  return names;
}

/// Only fc1.
std::unique_ptr<Module> one_layer() {
  return make_model({.type = "mlp", .input = {1, 3, 1}, .classes = 2, .hidden = {}}, 0);
}

std::vector<float> numbers(const Tensor* tensor) {
  const auto span = tensor->span<float>();
  return {span.begin(), span.end()};
}

TEST(ForeignWeights, ThatAreOursAlreadyStay) {
  const auto model = one_layer();
  TensorFile file{.tensors = state_dict(*model), .metadata = {}};
  EXPECT_EQ(adapt_foreign_weights(file, *model, "f"), "");
  EXPECT_EQ(names_of(file), (Names{"fc1.weight", "fc1.bias"}));
}

TEST(ForeignWeights, LoseWhatAWrapperPutBeforeAllNames) {
  const auto model = one_layer();
  const Tensor one = Tensor::zeros({1});
  TensorFile file{.tensors = {{"model.module.fc1.weight", one},
                              {"mask/model.module.fc1.weight", one},
                              {"model.module.fc1.bias", one}},
                  .metadata = {}};
  EXPECT_EQ(adapt_foreign_weights(file, *model, "f"), "model.module.");
  EXPECT_EQ(names_of(file), (Names{"fc1.weight", "mask/fc1.weight", "fc1.bias"}));
  file.tensors = {{"model.fc1.weight", one}, {"fc1.bias", one}};
  EXPECT_EQ(adapt_foreign_weights(file, *model, "f"), "");
  file.tensors = {};
  EXPECT_EQ(adapt_foreign_weights(file, *model, "f"), "");
}

TEST(ForeignWeights, KeepAPrefixThatIsTheModelsOwn) {
  class Wrapped : public Module {
   public:
    Wrapped() { adopt("model", one_layer()); }
    Variable forward(const Variable& x) override { return x; }
    std::string type() const override { return "wrapped"; }
  } model;
  TensorFile file{.tensors = state_dict(model), .metadata = {}};
  for (auto& [name, tensor] : file.tensors) name = "module." + name;
  EXPECT_EQ(adapt_foreign_weights(file, model, "f"), "module.");
  EXPECT_EQ(names_of(file), (Names{"model.fc1.weight", "model.fc1.bias"}));
}

TEST(ForeignWeights, OfPrunedParametersAreTheProductAndItsMask) {
  const auto model = one_layer();
  const Tensor value = Tensor::from<float>({2, 3}, {1, -2, 3, -4, 5, -6}),
               bias = Tensor::from<float>({2}, {7, 8});
  for (const bool mask_first : {false, true}) {
    TensorFile file{.tensors = {{"fc1.weight_orig", value.clone()},
                                {"fc1.weight_mask", Tensor::from<float>({2, 3}, {1, 0, 1, 0, 0, 1})},
                                {"fc1.bias_mask", Tensor::from<uint8_t>({2}, {0, 1})},
                                {"fc1.bias_orig", bias.clone()}},
                    .metadata = {}};
    if (mask_first) std::swap(file.tensors[0], file.tensors[1]);
    adapt_foreign_weights(file, *model, "f");
    ASSERT_TRUE(file.find("fc1.weight") && file.find("fc1.bias") && file.tensors.size() == 4);
    EXPECT_EQ(numbers(file.find("fc1.weight")), (std::vector<float>{1, 0, 3, 0, 0, -6}));
    EXPECT_EQ(numbers(file.find("fc1.bias")), (std::vector<float>{0, 8}));
    const auto mask = file.find("mask/fc1.weight")->span<uint8_t>();
    EXPECT_EQ(std::vector<int>(mask.begin(), mask.end()), (std::vector<int>{1, 0, 1, 0, 0, 1}));
    EXPECT_EQ(file.find("mask/fc1.bias")->data<uint8_t>()[0], 0);
  }
  TensorFile others{.tensors = {{"a_orig", bias}, {"b_orig", bias}, {"b_mask", bias}, {"b", bias}},
                    .metadata = {}};
  adapt_foreign_weights(others, *model, "f");
  EXPECT_EQ(names_of(others), (Names{"a_orig", "b_orig", "b_mask", "b"}));
  others.tensors = {{"b_orig", bias}, {"b_mask", value}};
  EXPECT_EQ(message_of([&] { adapt_foreign_weights(others, *model, "f"); }),
            "f: 'b_mask' is f32[2, 3], expected f32 or u8 as large as 'b_orig', f32[2]");
}

TEST(ForeignWeights, GetTheCountsThatBatchNormsLack) {
  const auto model = make_model({.type = "vgg11", .input = {32, 32, 3}, .width = 0.05}, 0);
  TensorFile file{.tensors = state_dict(*model), .metadata = {}};
  std::erase_if(file.tensors, [](const auto& named) { return named.first.ends_with("num_batches_tracked"); });
  adapt_foreign_weights(file, *model, "f");
  load_state_dict(*model, file.tensors, "f");
  EXPECT_EQ(model->find("features.1.num_batches_tracked")->value().data<int64_t>()[0], 0);
}

}  // namespace
}  // namespace espalier
