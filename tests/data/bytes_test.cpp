#include "espalier/data/bytes.h"

#include <gtest/gtest.h>

#include <array>

namespace espalier {
namespace {

constexpr std::array<uint8_t, 5> bytes{0xFF, 0x01, 0x02, 0x03, 0x80};

TEST(Bytes, AreNumbersOfBothKinds) {
  EXPECT_EQ(big_endian(bytes, 0, 4), 0xFF010203u);
  EXPECT_EQ(little_endian(bytes, 1, 4), 0x80030201u);
  EXPECT_EQ(big_endian(bytes, 1, 2), 0x0102u);
  EXPECT_EQ(little_endian(bytes, 0, 3), 0x0201FFu);
  EXPECT_EQ(little_endian(bytes, 5, 0), 0u);
}

TEST(Bytes, ThatAreNotThereAreZero) {
  for (const auto number : {big_endian, little_endian}) {
    EXPECT_EQ(number(bytes, 2, 4), 0u);
    EXPECT_EQ(number(bytes, 6, 1), 0u);
    EXPECT_EQ(number(bytes, SIZE_MAX, 4), 0u);
  }
}

TEST(Bytes, BeginWithWhatIsWhole) {
  EXPECT_TRUE(starts_with(bytes, "\xFF\x01"));
  EXPECT_FALSE(starts_with(bytes, "\xFF\x02"));
  EXPECT_FALSE(starts_with(std::span(bytes).first(1), "\xFF\x01"));
}

}  // namespace
}  // namespace espalier
