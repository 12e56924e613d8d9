#include "espalier/core/tensor.h"

#include <gtest/gtest.h>

#include "espalier/core/allocator.h"
#include "support/bad_input.h"
#include "support/numbers.h"

namespace espalier::tensor_test {
namespace {

const Floats six{1, 2, 3, 4, 5, 6};

TEST(Tensor, FromCopiesInRowMajorOrder) {
  Floats values = six;
  const Tensor t = Tensor::from({2, 3}, values);
  values[0] = 100;
  EXPECT_EQ(t.shape(), (Shape{2, 3}));
  EXPECT_EQ(t.elements(), 6);
  EXPECT_EQ(t.bytes(), 24u);
  EXPECT_TRUE(std::ranges::equal(t.span<float>(), six));
  EXPECT_TRUE(contains(message_of([&] { Tensor::from({2, 2}, values); }), "6 values for shape [2, 2]"));
}

TEST(Tensor, HoldsEachType) {
  EXPECT_EQ(Tensor::from({2}, std::vector<uint8_t>{1, 255}).span<uint8_t>()[1], 255);
  EXPECT_EQ(Tensor::from({2}, std::vector<int8_t>{1, -5}).span<int8_t>()[1], -5);
  EXPECT_EQ(Tensor::from({2}, std::vector<int32_t>{1, -70000}).span<int32_t>()[1], -70000);
  EXPECT_EQ(Tensor::from({1}, std::vector<int64_t>{int64_t{1} << 40}).span<int64_t>()[0], int64_t{1} << 40);
  EXPECT_EQ(Tensor::empty({3}, DType::bf16).bytes(), 6u);
  EXPECT_EQ(Tensor::empty({3}, DType::i64).bytes(), 24u);
}

TEST(Tensor, ReadAsAnotherTypeIsRefused) {
  const Tensor t = Tensor::zeros({2}, DType::u8);
  EXPECT_TRUE(contains(message_of([&] { t.f32(); }), "holds u8, was read as f32"));
}

TEST(Tensor, ZerosAndFull) {
  // Memory from the allocator's cache is dirty, and large enough that several threads clear it.
  { const Tensor dirty = Tensor::full({600000}, 7.0f); }
  const Tensor zeros = Tensor::zeros({600000}), full = Tensor::full({1001}, 2.5f);
  EXPECT_EQ(std::ranges::count(zeros.span<float>(), 0.0f), 600000);
  EXPECT_EQ(std::ranges::count(full.span<float>(), 2.5f), 1001);
}

TEST(Tensor, ReshapeSharesStorage) {
  Tensor t = Tensor::from({2, 3}, six);
  Tensor r = t.reshape({3, 2});
  EXPECT_EQ(r.shape(), (Shape{3, 2}));
  EXPECT_EQ(t.shape(), (Shape{2, 3}));
  r.f32()[5] = 60;
  EXPECT_EQ(t.f32()[5], 60.0f);
  EXPECT_FALSE(t.unique());
  EXPECT_TRUE(contains(message_of([&] { t.reshape({4}); }), "[2, 3] has 6 elements, [4] has 4"));
}

TEST(Tensor, CloneOwnsItsStorage) {
  Tensor t = Tensor::from({2, 3}, six);
  Tensor copy = t.clone();
  EXPECT_TRUE(t.unique());
  copy.f32()[0] = 100;
  EXPECT_EQ(t.f32()[0], 1.0f);
  EXPECT_FALSE(Tensor().clone().defined());
}

TEST(Tensor, CopyFromOverwritesInPlace) {
  Tensor t = Tensor::zeros({2, 3});
  const Tensor alias = t;
  t.copy_from(Tensor::from({2, 3}, six));
  EXPECT_TRUE(std::ranges::equal(alias.span<float>(), six));
  EXPECT_TRUE(contains(message_of([&] { t.copy_from(Tensor::zeros({3, 2})); }), "f32[3, 2] into f32[2, 3]"));
  EXPECT_TRUE(contains(message_of([&] {
                         t.copy_from(Tensor::zeros({2, 3}, DType::i32));
                       }),
                       "i32[2, 3] into"));
}

TEST(Tensor, ItemIsForOneElement) {
  EXPECT_EQ(Tensor::full({}, 3.0f).item(), 3.0f);
  EXPECT_EQ(Tensor::full({1, 1}, 3.0f).item(), 3.0f);
  EXPECT_TRUE(contains(message_of([] { Tensor::zeros({2}).item(); }), "shape [2], not one element"));
  EXPECT_TRUE(contains(message_of([] { Tensor().item(); }), "item: "));
}

TEST(Tensor, UndefinedHasNoMemory) {
  const Tensor t;
  EXPECT_FALSE(t.defined());
  EXPECT_EQ(t.f32(), nullptr);
  EXPECT_EQ(t.data<uint8_t>(), nullptr);
}

TEST(MetaDevice, HasShapesAloneAndRunsNoKernel) {
  const size_t used = allocator::stats().used_bytes;
  Tensor before = Tensor::full({2}, 3.0f), vast;
  {
    const MetaDevice shapes_alone;
    EXPECT_TRUE(MetaDevice::active());
    vast = Tensor::zeros({1 << 20, 1 << 20, 4});
    vast.fill(1.0f);
    const Tensor other = vast.clone();
    EXPECT_FALSE(other.shares(vast));
    EXPECT_TRUE(vast.reshape({4, int64_t{1} << 40}).shares(vast));
    before.fill(4.0f);  // what was made before is where it was
  }
  EXPECT_FALSE(MetaDevice::active());
  EXPECT_EQ(before.span<float>()[1], 4.0f);
  EXPECT_EQ(vast.device(), Device::meta);
  EXPECT_EQ(vast.bytes(), size_t{1} << 44);
  EXPECT_EQ(vast.raw(), nullptr);
  EXPECT_EQ(Tensor::zeros({2}).device(), Device::cpu);
  EXPECT_LE(allocator::stats().used_bytes, used + 64);
  const MetaDevice shapes_alone;
  EXPECT_TRUE(contains(message_of([] { Tensor::zeros({1}).item(); }), "no memory"));
}

TEST(Tensor, IsCopiedToAnotherDeviceAlone) {
  const Tensor here = Tensor::from({2}, std::vector<float>{1, 2});
  EXPECT_TRUE(here.to(Device::cpu).shares(here));
  const Tensor shape = here.to(Device::meta);
  EXPECT_EQ(shape.device(), Device::meta);
  EXPECT_EQ(shape.shape(), Shape{2});
  EXPECT_EQ(shape.to(Device::cpu).device(), Device::meta) << "what has no memory has none anywhere";
  EXPECT_FALSE(Tensor().to(Device::meta).defined());
  Tensor same = here;
  same.copy_from(here.to(Device::cpu));  // how host code writes back
  EXPECT_EQ(same.span<float>()[1], 2.0f);
  const Tensor bytes = Tensor::zeros({3}, DType::u8, Device::meta);
  EXPECT_EQ(bytes.like({4, 2}).dtype(), DType::u8);
  EXPECT_EQ(bytes.like({4, 2}).device(), Device::meta);
}

#ifndef ESPALIER_CUDA
TEST(Tensor, OnCudaIsAnErrorWithoutIt) {
  const auto message = "tensor: there is no device cuda in this program, which was built without CUDA";
  EXPECT_EQ(message_of([] { Tensor::zeros({1}, DType::f32, Device::cuda); }), message);
  EXPECT_EQ(message_of([] { Tensor::zeros({1}).to(Device::cuda); }), message);
}
#endif

TEST(Tensor, NamesForMessages) {
  EXPECT_STREQ(dtype_name(DType::bf16), "bf16");
  EXPECT_STREQ(device_name(Device::cpu), "cpu");
  EXPECT_STREQ(device_name(Device::cuda), "cuda");
  EXPECT_STREQ(device_name(Device::meta), "meta");
}

}  // namespace
}  // namespace espalier::tensor_test
