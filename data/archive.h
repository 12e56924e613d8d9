// Archives: the files of a .tar, .tar.gz or .tar.xz, in memory and nowhere else.
#pragma once

#include <cstdint>
#include <filesystem>
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

/// An Error that names `name`, and the entry where it is one, if the archive is cut short, broken, no tar, or
/// holds an absolute path, a path with "..", a path twice, a link, or anything else that is neither file nor
/// folder; or if it unpacks to more than `most_bytes`, or its files together claim more than it unpacks to.
Archive parse_archive(std::vector<uint8_t> bytes, const std::string& name, size_t most_bytes);

/// The same for a file; unpacked it may have 32 GiB, or as much as this machine has memory if that is less.
Archive read_archive(const std::filesystem::path& path);

}  // namespace espalier
