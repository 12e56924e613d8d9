// Data files: plain, or compressed by gzip or xz, told apart by their first bytes and not by their names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace espalier {

/// `path` if there is such a file, else `path`.gz, else `path`.xz, else nothing.
std::optional<std::filesystem::path> find_plain_or_compressed(const std::filesystem::path& path);

/// The bytes that `bytes` stand for: themselves, or what gzip or xz made them from (several members or
/// streams are joined). An Error that names `file` and the place in it if they are cut short, corrupt,
/// followed by something else, or unpack to more than `most_bytes`: a small file cannot claim all memory.
std::vector<uint8_t> unpack(std::vector<uint8_t> bytes, const std::string& file, size_t most_bytes);

/// A whole regular file as it is; an Error that names it if it cannot be read or is longer than `most_bytes`.
std::vector<uint8_t> read_bytes(const std::filesystem::path& path, size_t most_bytes);

/// unpack() of a whole regular file, which must itself be no longer than `most_bytes`.
std::vector<uint8_t> read_unpacked(const std::filesystem::path& path, size_t most_bytes);

}  // namespace espalier
