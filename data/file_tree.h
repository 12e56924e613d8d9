// The files below a folder, or in an archive of one: what reads them need not know which.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "espalier/data/archive.h"

namespace espalier {

class FileTree {
 public:
  /// Lists a folder, links followed, or reads an archive, of whose files only what `keep` (archive.h) says is
  /// held. What is hidden (".x", "__MACOSX") is left out. An Error that names what is missing or broken, and
  /// a link to a folder that it lies in.
  explicit FileTree(const std::filesystem::path& folder_or_archive, const Keep& keep = keep_all);

  /// Relative, with '/' between names, sorted; folders end in '/'.
  const std::vector<std::string>& paths() const { return paths_; }
  /// For messages: "FOLDER/a/b.png" or "x.tar.xz: a/b.png".
  std::string place(const std::string& path) const;
  /// One file's bytes. Threads may read at the same time.
  std::vector<uint8_t> read(const std::string& path) const;

 private:
  std::filesystem::path root_;
  bool is_archive_;
  std::vector<std::string> paths_;
  std::map<std::string, std::vector<uint8_t>> archived_;
};

/// What changes when a file is added, removed or written: path, size and time of the archive, or of every
/// file below the folder.
std::string fingerprint(const std::filesystem::path& folder_or_archive);

/// 64 bits that differ where texts do, but for malice.
uint64_t hash(std::string_view text);

}  // namespace espalier
