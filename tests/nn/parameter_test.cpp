#include "espalier/nn/parameter.h"

#include <gtest/gtest.h>

#include "support/bad_input.h"
#include "support/numbers.h"

namespace espalier {
namespace {

Parameter parameter(const Shape& shape, const Floats& values) {
  Parameter p;
  p.name = "fc1.weight";
  p.variable = Variable(Tensor::from(shape, values), true, p.name);
  return p;
}

TEST(Parameter, AMaskZeroesValueAndState) {
  Parameter p = parameter({2, 2}, {1, 2, 3, 4});
  p.state = {{"slot0", Tensor::full({2, 2}, 5)},
             {"slot1", Tensor::full({2, 2}, 6)},
             {"average", Tensor::full({2, 2}, 7)},
             {"score", Tensor::full({2, 2}, 8)},
             {"unmasked_score", Tensor::full({2, 2}, 8)}};
  p.gradient() = Tensor::full({2, 2}, 9);
  p.set_mask(Tensor::from({2, 2}, std::vector<uint8_t>{1, 0, 0, 1}));
  EXPECT_TRUE(std::ranges::equal(p.value().span<float>(), Floats{1, 0, 0, 4}));
  EXPECT_TRUE(std::ranges::equal(p.state_of("slot0").span<float>(), Floats{5, 0, 0, 5}));
  EXPECT_TRUE(std::ranges::equal(p.state_of("slot1").span<float>(), Floats{6, 0, 0, 6}));
  EXPECT_TRUE(std::ranges::equal(p.state_of("average").span<float>(), Floats{7, 0, 0, 7}));
  EXPECT_TRUE(std::ranges::equal(p.state_of("score").span<float>(), Floats{8, 0, 0, 8})) << "a method's own";
  EXPECT_TRUE(std::ranges::equal(p.state_of("unmasked_score").span<float>(), Floats{8, 8, 8, 8}));
  EXPECT_TRUE(std::ranges::equal(p.gradient().span<float>(), Floats{9, 9, 9, 9}));
  EXPECT_EQ(p.nonzeros(), 2);
  p.remove_mask();
  EXPECT_FALSE(p.mask.defined());
  EXPECT_EQ(p.nonzeros(), 2) << "the zeros stay";
}

TEST(Parameter, AMaskOfAnotherShapeOrTypeIsRefused) {
  Parameter p = parameter({2, 2}, {1, 2, 3, 4});
  EXPECT_EQ(message_of([&] { p.set_mask(Tensor::zeros({4}, DType::u8)); }),
            "fc1.weight: a mask is u8 of shape [2, 2], not u8[4]");
  EXPECT_EQ(message_of([&] {
              p.set_mask(Tensor::zeros({2, 2}));
            }),
            "fc1.weight: a mask is u8 of shape [2, 2], not f32[2, 2]");
  EXPECT_FALSE(p.mask.defined());
  EXPECT_EQ(p.nonzeros(), 4);
}

TEST(Parameter, CountsNonzeros) {
  EXPECT_EQ(parameter({5}, {0, -0.0f, 1e-30f, -1, 2}).nonzeros(), 3) << "minus zero is zero";
}

TEST(Parameter, OnlyBuffersAreNotLearned) {
  Parameter p = parameter({1}, {1});
  for (const Role role : {Role::weight, Role::bias, Role::scale, Role::shift}) {
    p.role = role;
    EXPECT_TRUE(p.learned());
  }
  p.role = Role::buffer;
  EXPECT_FALSE(p.learned());
}

TEST(Parameter, LayerNameIsTheParametersWithoutItsLastPart) {
  EXPECT_EQ(layer_name("layer1.0.conv1.weight"), "layer1.0.conv1");
  EXPECT_EQ(layer_name("weight"), "weight");
}

TEST(Parameter, OnesPassedOverTogetherShareADevice) {
  Parameter here = parameter({1}, {1}),
            there{.name = "fc2.weight",
                  .variable = Variable(Tensor::empty({1}, DType::f32, Device::meta), true)};
  EXPECT_EQ(device_of({}), Device::cpu);
  EXPECT_EQ(device_of({&here, &here}), Device::cpu);
  EXPECT_EQ(device_of({&there}), Device::meta);
  EXPECT_EQ(message_of([&] {
              device_of({&here, &there});
            }),
            "fc2.weight: is on meta, but fc1.weight is on cpu");
  Parameter count{.name = "bn1.num_batches_tracked",
                  .role = Role::buffer,
                  .variable = Variable(Tensor::zeros({}, DType::i64))};
  EXPECT_EQ(device_of({&count, &there}), Device::meta) << "the host counts";
}

TEST(Parameter, MovesWithAllThatBelongsToIt) {
  Parameter moved = parameter({2}, {1, 2});
  moved.gradient() = Tensor::zeros({2});
  moved.state["average"] = Tensor::zeros({2});
  moved.state["slot0"] = moved.state["score"] = Tensor::zeros({2});
  moved.set_mask(Tensor::from({2}, std::vector<uint8_t>{1, 0}));
  moved.to(Device::meta);
  std::vector<std::string> names;
  moved.for_tensors([&](std::string_view name, const Tensor& tensor) {
    names.emplace_back(name);
    EXPECT_EQ(tensor.device(), Device::meta) << name;
  });
  EXPECT_EQ(names, (std::vector<std::string>{"value", "gradient", "mask", "average", "score", "slot0"}));

  Parameter count{.name = "n", .role = Role::buffer, .variable = Variable(Tensor::zeros({}, DType::i64))};
  count.to(Device::meta);
  EXPECT_EQ(count.value().device(), Device::cpu);
}

TEST(Parameter, NamesSayWhatATensorIsToIt) {
  EXPECT_EQ(use_of("value"), TensorUse::value);
  EXPECT_EQ(use_of("gradient"), TensorUse::gradient);
  EXPECT_EQ(use_of("mask"), TensorUse::mask);
  EXPECT_EQ(use_of("average"), TensorUse::stand_in);
  EXPECT_EQ(use_of("slot12"), TensorUse::optimizer);
  EXPECT_EQ(use_of("unmasked_score"), TensorUse::unmasked);
  EXPECT_EQ(use_of(unmasked_value), TensorUse::unmasked);
  EXPECT_EQ(use_of("stage"), TensorUse::stage);
  for (const char* own : {"unmasked", "slot", "slots", "slot1a", "score", ""})
    EXPECT_EQ(use_of(own), TensorUse::method) << own;
}

TEST(Parameter, GivesAwayAndTakesAllThatBelongsToIt) {
  Parameter p = parameter({2}, {1, 2});
  p.gradient() = Tensor::full({2}, 3);
  p.state["slot0"] = Tensor::full({2}, 4);
  const NamedState all = p.tensors();
  EXPECT_EQ(all.size(), 3u);
  p.set_mask(Tensor::from({2}, std::vector<uint8_t>{1, 1}));
  p.state["score"] = Tensor::zeros({2});
  p.drop_state(TensorUse::optimizer);
  EXPECT_FALSE(p.state_of("slot0").defined());
  EXPECT_TRUE(p.state_of("score").defined());
  p.set_tensors(all);
  EXPECT_FALSE(p.mask.defined() || p.state_of("score").defined()) << "these, and none besides";
  EXPECT_EQ(p.state_of("slot0").f32(), all.at("slot0").f32());
  EXPECT_EQ(p.gradient().f32(), all.at("gradient").f32());
  EXPECT_EQ(p.value().f32(), all.at("value").f32());
}

}  // namespace
}  // namespace espalier
