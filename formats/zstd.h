// Zstandard (RFC 8878) frames in memory, by libzstd.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace espalier {

/// One frame that says how much it holds.
std::vector<std::byte> zstd_compressed(std::span<const std::byte> bytes);

/// How many bytes a frame says that it holds; nothing where it says nothing, or is none.
std::optional<uint64_t> zstd_content_bytes(std::span<const std::byte> frame);

/// Fills `into` with what the frame holds. False where that is not just as much, or the frame is damaged.
bool zstd_decompress(std::span<const std::byte> frame, std::span<std::byte> into);

}  // namespace espalier
