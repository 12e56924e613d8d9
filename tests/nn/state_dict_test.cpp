#include "espalier/nn/state_dict.h"

#include <gtest/gtest.h>

#include "espalier/nn/models/models.h"
#include "support/bad_input.h"
#include "support/numbers.h"

namespace espalier {
namespace {

Parameter laid_out(const Shape& shape, FileLayout layout) {
  Floats values(static_cast<size_t>(shape.elements()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  Parameter p;
  p.variable = Variable(Tensor::from(shape, values), true);
  p.layout = layout;
  return p;
}

TEST(FileLayout, AConvolutionIsOihwInFiles) {
  // In memory [O=2, Kh=1, Kw=2, I=3]: number ((o 1 + 0) 2 + kw) 3 + i.
  const Parameter p = laid_out({2, 1, 2, 3}, {FileLayout::oihw});
  EXPECT_EQ(file_shape(p), (Shape{2, 3, 1, 2}));
  const Tensor file = to_file_layout(p, p.value());
  EXPECT_EQ(file.shape(), (Shape{2, 3, 1, 2}));
  EXPECT_TRUE(std::ranges::equal(file.span<float>(), Floats{0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11}));
  EXPECT_TRUE(same_bits(from_file_layout(p, file), p.value()));
}

TEST(FileLayout, ALinearLayerBehindAFlattenHasPyTorchsColumnsInFiles) {
  // Two pixels, three channels: column hw 3 + c in memory, c 2 + hw in files.
  const Parameter p = laid_out({2, 6}, {FileLayout::flattened, 2});
  EXPECT_EQ(file_shape(p), (Shape{2, 6}));
  const Tensor file = to_file_layout(p, p.value());
  EXPECT_TRUE(std::ranges::equal(file.span<float>(), Floats{0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11}));
  EXPECT_TRUE(same_bits(from_file_layout(p, file), p.value()));
}

TEST(FileLayout, MasksGoTheSameWay) {
  const Parameter p = laid_out({1, 2, 1, 2}, {FileLayout::oihw});
  const Tensor mask = Tensor::from({1, 2, 1, 2}, std::vector<uint8_t>{1, 2, 3, 4});
  const Tensor file = to_file_layout(p, mask);
  EXPECT_TRUE(std::ranges::equal(file.span<uint8_t>(), std::vector<uint8_t>{1, 3, 2, 4}));
  EXPECT_TRUE(std::ranges::equal(from_file_layout(p, file).span<uint8_t>(), mask.span<uint8_t>()));
}

TEST(FileLayout, TheRestIsACopy) {
  Parameter p = laid_out({2, 3}, {});
  Tensor file = to_file_layout(p, p.value());
  EXPECT_TRUE(same_bits(file, p.value()));
  file.f32()[0] = 100;
  EXPECT_EQ(p.value().f32()[0], 0.0f);
}

class StateDict : public testing::Test {
 protected:
  std::unique_ptr<Module> model = make_model({.type = "lenet5", .input = {16, 20, 3}, .width = 0.1}, 1);
  NamedTensors tensors = state_dict(*make_model({.type = "lenet5", .input = {16, 20, 3}, .width = 0.1}, 2));

  std::string refusal() {
    return message_of([&] { load_state_dict(*model, tensors, "weights.safetensors"); });
  }
  Tensor& tensor(const std::string& name) {
    return std::ranges::find(tensors, name, &NamedTensors::value_type::first)->second;
  }
  NamedTensors before = state_dict(*model);
  void TearDown() override {
    if (!HasFailure() && refused) {
      const NamedTensors after = state_dict(*model);
      for (size_t i = 0; i < after.size(); ++i)
        EXPECT_TRUE(same_bits(after[i].second, before[i].second)) << after[i].first << " was written";
    }
  }
  bool refused = true;
};

TEST_F(StateDict, HasPyTorchsNamesAndShapes) {
  refused = false;
  const std::pair<const char*, Shape> expected[] = {{"conv1.weight", {2, 3, 5, 5}}, {"conv1.bias", {2}},
                                                    {"conv2.weight", {5, 2, 5, 5}}, {"conv2.bias", {5}},
                                                    {"fc1.weight", {50, 10}},       {"fc1.bias", {50}},
                                                    {"fc2.weight", {10, 50}},       {"fc2.bias", {10}}};
  ASSERT_EQ(tensors.size(), std::size(expected));
  for (size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_EQ(tensors[i].first, expected[i].first);
    EXPECT_EQ(tensors[i].second.shape(), expected[i].second);
  }
}

TEST_F(StateDict, RoundTripInAnyOrder) {
  refused = false;
  std::ranges::reverse(tensors);
  load_state_dict(*model, tensors, "test");
  const NamedTensors after = state_dict(*model);
  for (const auto& [name, value] : after) EXPECT_TRUE(same_bits(value, tensor(name))) << name;
}

TEST_F(StateDict, MissingName) {
  tensors.erase(tensors.begin() + 1);
  EXPECT_EQ(refusal(), "weights.safetensors: no tensor 'conv1.bias', which the model needs");
}

TEST_F(StateDict, NameThatIsNotTheModels) {
  tensors.emplace_back("fc3.bias", Tensor::zeros({10}));
  EXPECT_EQ(refusal(), "weights.safetensors: tensor 'fc3.bias' is not the model's");
}

TEST_F(StateDict, MisspeltName) {
  tensors[1].first = "conv1.biass";
  EXPECT_EQ(
      refusal(),
      "weights.safetensors: no tensor 'conv1.bias', which the model needs, did you mean 'conv1.biass'?");
}

TEST_F(StateDict, WrongShape) {
  tensor("fc1.weight") = Tensor::zeros({50, 11});
  EXPECT_EQ(refusal(), "weights.safetensors: 'fc1.weight' has shape [50, 11], the model's is [50, 10]");
}

TEST_F(StateDict, MemorysLayoutIsNotTheFiles) {
  tensor("conv1.weight") = Tensor::zeros({2, 5, 5, 3});
  EXPECT_EQ(refusal(),
            "weights.safetensors: 'conv1.weight' has shape [2, 5, 5, 3], the model's is [2, 3, 5, 5]");
}

TEST_F(StateDict, WrongType) {
  tensor("fc2.bias") = Tensor::zeros({10}, DType::i32);
  EXPECT_EQ(refusal(), "weights.safetensors: 'fc2.bias' holds i32, the model's holds f32");
}

TEST_F(StateDict, ANameTwice) {
  tensors.emplace_back("fc2.bias", Tensor::zeros({3}));
  EXPECT_EQ(refusal(), "weights.safetensors: tensor 'fc2.bias' is there twice");
}

}  // namespace
}  // namespace espalier
