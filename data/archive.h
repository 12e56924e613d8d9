// Archives: the files of a .tar, .tar.gz or .tar.xz, in memory and nowhere else.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace espalier {

struct Archive {
  struct File {
    std::string path;  ///< relative, without "." and ".."
    std::vector<uint8_t> bytes;
  };
  std::vector<File> files;
  std::vector<std::string> folders;  ///< those with an entry of their own
};

/// How many bytes of a file to keep, by its path and how it begins (its first 64 bytes); the rest is not
/// held in memory.
using Keep = std::function<size_t(const std::string& path, std::span<const uint8_t> beginning)>;
size_t keep_all(const std::string& path, std::span<const uint8_t> beginning);

/// It is unpacked piece by piece, so that it takes the memory of the files that are kept. An Error that names
/// `name`, and the entry where it is one, if the archive is cut short, broken, no tar, or holds an absolute
/// path, a path with "..", one of more than 4,096 bytes, a path twice, a link, or anything else that is
/// neither file nor folder; or if what is kept of its files is more than `max_bytes`, or more than was
/// unpacked.
Archive parse_archive(std::span<const uint8_t> bytes, const std::string& name, size_t max_bytes,
                      const Keep& keep = keep_all);

/// The same for a file; what is kept may have 32 GiB, or as much as this machine has memory if that is less.
Archive read_archive(const std::filesystem::path& path, const Keep& keep = keep_all);

}  // namespace espalier
