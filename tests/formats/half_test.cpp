#include "espalier/formats/half.h"

#include <gtest/gtest.h>

#include <cmath>

namespace espalier {
namespace {

TEST(Half, ByHand) {
  EXPECT_EQ(to_f16(1.0f), 0x3C00);
  EXPECT_EQ(to_f16(-2.0f), 0xC000);
  EXPECT_EQ(to_f16(65504.0f), 0x7BFF);
  EXPECT_EQ(to_f16(65519.0f), 0x7BFF);
  EXPECT_EQ(to_f16(65520.0f), 0x7C00) << "as near to infinity: the even one";
  EXPECT_EQ(to_f16(INFINITY), 0x7C00);
  EXPECT_EQ(to_f16(0x1p-14f), 0x0400);
  EXPECT_EQ(to_f16(0x1p-24f), 0x0001);
  EXPECT_EQ(to_f16(0x1p-25f), 0x0000) << "half way to the smallest: the even one";
  EXPECT_EQ(to_f16(0x1.8p-24f), 0x0002) << "1.5 of the smallest";
  EXPECT_EQ(to_f16(-0.0f), 0x8000);
  EXPECT_EQ(to_f16(1.0f + 0x1p-11f), 0x3C00) << "half a step: the even one";
  EXPECT_EQ(to_f16(1.0f + 0x1.8p-10f), 0x3C02);
  EXPECT_TRUE(std::isnan(from_f16(to_f16(NAN))));
}

TEST(Half, EveryNumberComesBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = from_f16(half);
    if (!std::isnan(value)) {
      ASSERT_EQ(to_f16(value), half) << bits;
    }
    if (!std::isnan(from_bf16(half))) {
      ASSERT_EQ(to_bf16(from_bf16(half)), half) << bits;
    }
  }
}

/// Against the two numbers of f16 that it lies between.
TEST(Half, RoundsToTheNearest) {
  for (uint16_t half = 0; half < 0x7BFF; ++half) {
    const double low = from_f16(half), high = from_f16(static_cast<uint16_t>(half + 1));
    for (const double part : {0.25, 0.49, 0.51, 0.75}) {
      const auto value = static_cast<float>(low + part * (high - low));
      ASSERT_EQ(to_f16(value), part < 0.5 ? half : half + 1) << half << ' ' << part;
    }
  }
}

}  // namespace
}  // namespace espalier
