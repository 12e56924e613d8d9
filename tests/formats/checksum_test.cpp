// The published check value, pieces, and that one bit makes a difference.
#include "espalier/formats/checksum.h"

#include <gtest/gtest.h>

#include <string_view>
#include <vector>

namespace espalier {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

TEST(Checksum, IsTheCrcOfZlib) {
  EXPECT_EQ(checksum(bytes_of("123456789")), 0xCBF43926u);
  EXPECT_EQ(checksum({}), 0u);
}

TEST(Checksum, TakesPieces) {
  const std::string_view text = "123456789";
  for (size_t cut = 0; cut <= text.size(); ++cut)
    EXPECT_EQ(checksum(bytes_of(text.substr(cut)), checksum(bytes_of(text.substr(0, cut)))), 0xCBF43926u);
}

TEST(Checksum, SeesEveryBit) {
  std::vector<std::byte> bytes(1000, std::byte{7});
  const uint32_t before = checksum(bytes);
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_NE(checksum(bytes), before) << bit;
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
  }
}

}  // namespace
}  // namespace espalier
