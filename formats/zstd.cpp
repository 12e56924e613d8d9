#include "espalier/formats/zstd.h"

#include <zstd.h>

#include "espalier/util/error.h"

namespace espalier {

std::vector<std::byte> zstd_compressed(std::span<const std::byte> bytes) {
  constexpr int level = 9;  // of masks: beyond it less than a hundredth is saved
  std::vector<std::byte> frame(ZSTD_compressBound(bytes.size()));
  const size_t size = ZSTD_compress(frame.data(), frame.size(), bytes.data(), bytes.size(), level);
  ESP_CHECK(!ZSTD_isError(size), "zstd: ", ZSTD_getErrorName(size));
  frame.resize(size);
  return frame;
}

std::optional<uint64_t> zstd_content_bytes(std::span<const std::byte> frame) {
  const unsigned long long size = ZSTD_getFrameContentSize(frame.data(), frame.size());
  if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR) return std::nullopt;
  return size;
}

bool zstd_decompress(std::span<const std::byte> frame, std::span<std::byte> into) {
  const size_t size = ZSTD_decompress(into.data(), into.size(), frame.data(), frame.size());
  return !ZSTD_isError(size) && size == into.size();
}

}  // namespace espalier
