#include "espalier/core/cpu/pieces.h"

#include <gtest/gtest.h>

namespace espalier::cpu::pieces_test {
namespace {

TEST(Pieces, BeginAtCacheLinesAndDoNotOverlap) {
  alignas(64) char block[512];
  Pieces pieces(block);
  const auto at = [&](const float* piece) { return reinterpret_cast<const char*>(piece) - block; };
  EXPECT_EQ(at(pieces.take(1)), 0);
  EXPECT_EQ(at(pieces.take(16)), 64);
  EXPECT_EQ(at(pieces.take(17)), 128);
  EXPECT_EQ(at(pieces.take_bytes(65)), 256);
  EXPECT_EQ(at(pieces.take(0)), 384);  // nothing takes no room
  EXPECT_EQ(at(pieces.take_bytes(1)), 384);
  EXPECT_EQ(pieces.bytes(), 448u);
}

TEST(Pieces, OfNoBlockSayHowLargeItMustBe) {
  Pieces pieces(nullptr);
  EXPECT_EQ(pieces.bytes(), 0u);
  EXPECT_EQ(pieces.take(17), nullptr);
  EXPECT_EQ(pieces.take_bytes(1), nullptr) << "not an address after null";
  EXPECT_EQ(pieces.bytes(), 192u);
}

}  // namespace
}  // namespace espalier::cpu::pieces_test
