// Files that are read: in place at any offset, or entirely as text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "espalier/util/file_descriptor.h"

namespace espalier {

/// A regular file, open for reading. Every failure is an Error that names the file.
class InputFile {
 public:
  explicit InputFile(const std::filesystem::path& path);

  uint64_t size() const { return size_; }
  /// Exactly `bytes` bytes from `offset` into `into`; an Error if the file ends before.
  void read(void* into, size_t bytes, uint64_t offset) const;

 private:
  std::filesystem::path path_;
  FileDescriptor file_;
  uint64_t size_;
};

// Of a file that somebody has named: UsageErrors, for the name is wrong. What is wrong in a file is an Error.

/// If there is nothing of that name.
void require_present(const std::filesystem::path& path);
/// If there is nothing, or a folder.
void require_file(const std::filesystem::path& path);

/// An Error if there is something at `path` that is no regular file: opening a pipe may never end.
void check_regular(const std::filesystem::path& path);

/// All of a text file; pipes and devices are read to their end. An Error if it is missing, a folder, a
/// pipe that nobody writes to, or longer than `limit` bytes.
std::string read_file(const std::filesystem::path& path, size_t limit = size_t{64} << 20);

}  // namespace espalier
