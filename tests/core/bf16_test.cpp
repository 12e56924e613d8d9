#include "espalier/core/bf16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "espalier/core/tensor.h"

namespace espalier::bf16_test {
namespace {

TEST(Bf16, RoundsToTheNearestAndTiesToEven) {
  EXPECT_EQ(bf16(1.0f).bits, 0x3F80);
  EXPECT_EQ(bf16(1.0f + 0x1p-8f).bits, 0x3F80) << "half way, 0 is even";
  EXPECT_EQ(bf16(1.0f + 0x1p-7f + 0x1p-8f).bits, 0x3F82) << "half way, 1 is odd";
  EXPECT_EQ(bf16(1.0f + 0x1p-8f + 0x1p-20f).bits, 0x3F81);
  EXPECT_EQ(bf16(-1.0f - 0x1p-8f - 0x1p-20f).bits, 0xBF81);
  EXPECT_EQ(bf16(0x1p-140f).bits, 0) << "below the least: half of 2^-133 and under";
}

TEST(Bf16, KeepsWhatIsNoNumber) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(bf16(infinity).bits, 0x7F80);
  EXPECT_EQ(bf16(std::numeric_limits<float>::max()).bits, 0x7F80) << "nearer to what would be 2^128";
  EXPECT_EQ(bf16(-infinity).bits, 0xFF80);
  for (const uint32_t nan : {0x7FC00000U, 0x7F800001U, 0x7FFFFFFFU, 0xFF800001U, 0xFFFFFFFFU})
    EXPECT_TRUE(std::isnan(static_cast<float>(bf16(std::bit_cast<float>(nan))))) << nan;
  EXPECT_TRUE(std::signbit(static_cast<float>(bf16(-0.0f))));
}

TEST(Bf16, EveryNumberIsAFloatAndComesBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto value = std::bit_cast<bf16>(static_cast<uint16_t>(bits));
    if (!std::isnan(static_cast<float>(value))) {
      ASSERT_EQ(bf16(static_cast<float>(value)).bits, bits);
    }
  }
}

TEST(Bf16, TensorsAreRoundedAndWidened) {
  const Tensor x = Tensor::from({3}, std::vector{1.0f + 0x1p-9f, -2.5f, 1e30f});
  const Tensor rounded = x.to(DType::bf16);
  ASSERT_EQ(rounded.dtype(), DType::bf16);
  EXPECT_EQ(rounded.bytes(), 6u);
  const Tensor back = rounded.to(DType::f32);
  EXPECT_EQ(back.span<float>()[0], 1.0f);
  EXPECT_EQ(back.span<float>()[1], -2.5f);
  EXPECT_EQ(back.span<float>()[2], static_cast<float>(bf16(1e30f)));
  EXPECT_TRUE(x.to(DType::f32).shares(x));
  EXPECT_FALSE(Tensor().to(DType::bf16).defined());
}

}  // namespace
}  // namespace espalier::bf16_test
