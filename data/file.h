// Data files: plain, or compressed by gzip or xz, told apart by their first bytes and not by their names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace espalier {

/// The first of `path`, `path`.gz and `path`.xz that is a file; where none is, the first that is there, which
/// is a folder, a pipe or a link to nothing, which reading it will say; nothing if none is there. An Error
/// if the folder cannot be looked into.
std::optional<std::filesystem::path> find_plain_or_compressed(const std::filesystem::path& path);

/// The bytes that `packed` stand for, piece by piece: themselves, or what gzip or xz made them from (several
/// members or streams are joined). `packed` must outlive it.
class Unpacker {
 public:
  Unpacker(std::span<const uint8_t> packed, const std::string& file);
  ~Unpacker();
  /// Fills the beginning of `into`, which is not empty, and returns how many bytes that were; 0: the end. An
  /// Error that names `file` and the place in it if they are cut short, corrupt or followed by something
  /// else.
  size_t read(std::span<uint8_t> into);

  struct Stream;

 private:
  std::unique_ptr<Stream> stream_;
};

/// How long a file is by its own word: what `of` says of its first `header` bytes.
struct Length {
  size_t header = 0;
  std::function<size_t(std::span<const uint8_t>)> of = {};
};

/// All that Unpacker gives. An Error as there, or if it is more than `max_bytes`, or than its `length`: a
/// small file cannot claim all memory.
std::vector<uint8_t> unpack(std::vector<uint8_t> bytes, const std::string& file, size_t max_bytes,
                            const Length& length = {});

/// All bytes of a regular file, as they are; an Error that names it if it cannot be read, is a folder, a pipe or a
/// device, or is longer than `max_bytes`.
std::vector<uint8_t> read_bytes(const std::filesystem::path& path, size_t max_bytes);

/// unpack() of a regular file, which must itself be no longer than `max_bytes`.
std::vector<uint8_t> read_unpacked(const std::filesystem::path& path, size_t max_bytes,
                                   const Length& length = {});

}  // namespace espalier
