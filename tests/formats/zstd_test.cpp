#include "espalier/formats/zstd.h"

#include <gtest/gtest.h>

namespace espalier {
namespace {

std::vector<std::byte> some(size_t size) {
  std::vector<std::byte> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * i / 7 % 5);
  return bytes;
}

TEST(Zstd, ComesBack) {
  for (const size_t size : {0, 1, 100, 1 << 20}) {
    const auto bytes = some(size), frame = zstd_compressed(bytes);
    EXPECT_EQ(zstd_content_bytes(frame), size);
    std::vector<std::byte> back(size);
    EXPECT_TRUE(zstd_decompress(frame, back));
    EXPECT_EQ(back, bytes);
  }
  EXPECT_LT(zstd_compressed(some(1 << 20)).size(), size_t{1} << 18);
}

TEST(Zstd, WhatIsDamagedOrOfAnotherSizeIsNotTaken) {
  const auto bytes = some(1000);
  const auto frame = zstd_compressed(bytes);
  std::vector<std::byte> less(999), more(1001), back(1000);
  EXPECT_FALSE(zstd_decompress(frame, less));
  EXPECT_FALSE(zstd_decompress(frame, more));
  EXPECT_FALSE(zstd_decompress(std::span(frame).first(frame.size() - 1), back));
  EXPECT_FALSE(zstd_decompress({}, back));
  EXPECT_FALSE(zstd_decompress(bytes, back));
  EXPECT_EQ(zstd_content_bytes(bytes), std::nullopt);
}

}  // namespace
}  // namespace espalier
