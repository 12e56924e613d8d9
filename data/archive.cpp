// Unpacker takes off the compression, and says where that is cut short; libarchive then reads the tar.
#include "espalier/data/archive.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <limits>
#include <memory>
#include <set>

#include "espalier/core/physical_memory.h"
#include "espalier/data/file.h"
#include "espalier/util/error.h"
#include "espalier/util/interrupt.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

constexpr size_t block = 512;
constexpr size_t longest_path = 4096;          // Linux's
constexpr size_t max_names = size_t{1} << 30;  // of all paths and the folders above them: 13 million images
constexpr size_t longest_padding = size_t{4}
                                   << 20;  // after the end: tar fills up its records, commonly 10 kB

/// The bytes of a tar, as libarchive asks for them.
class Stream {
 public:
  Stream(std::span<const uint8_t> packed, const std::string& name) : unpacker_(packed, name) {}

  size_t unpacked() const { return unpacked_; }
  /// The next piece; empty at the end.
  std::span<const uint8_t> next() {
    const size_t size = unpacker_.read(piece_);
    unpacked_ += size;
    const auto piece = std::span<const uint8_t>(piece_).first(size);
    last_.insert(last_.end(), piece.end() - static_cast<long>(std::min(size, block)), piece.end());
    last_.erase(last_.begin(), last_.end() - static_cast<long>(std::min(last_.size(), block)));
    return piece;
  }
  /// Whether the last block so far is one of zeros.
  bool ends_in_zeros() const {
    return last_.size() == block && std::ranges::all_of(last_, [](uint8_t byte) { return byte == 0; });
  }

  /// next() for libarchive, which no exception may pass: it is kept for rethrow().
  static la_ssize_t read(::archive*, void* stream, const void** piece) {
    auto& self = *static_cast<Stream*>(stream);
    try {
      const auto bytes = self.next();
      *piece = bytes.data();
      return static_cast<la_ssize_t>(bytes.size());
    } catch (...) {
      self.problem_ = std::current_exception();
      return -1;
    }
  }
  void rethrow() const {
    if (problem_) std::rethrow_exception(problem_);
  }

 private:
  Unpacker unpacker_;
  std::vector<uint8_t> piece_ = std::vector<uint8_t>(size_t{1} << 16), last_ = {};
  size_t unpacked_ = 0;
  std::exception_ptr problem_;
};

std::string reason(::archive* tar) {
  return archive_errno(tar) == ENOMEM ? "out of memory" : "what is there is no tar, or a damaged one";
}

/// The entry's path as its bytes are, where they are of no character set that libarchive knows, too.
std::string path_of(archive_entry* entry) {
  const char* path = archive_entry_pathname(entry);
  if (!path) path = archive_entry_pathname_utf8(entry);
  return path ? path : "";
}

/// "./a//b/" as "a/b". An Error for a path that leaves the folder the archive is of.
std::string relative(const std::string& path, const std::string& name) {
  ESP_CHECK(path.size() <= longest_path, name, ": '", printable(path), "' is a path of ", path.size(),
            " bytes, more than the ", longest_path, " that one may have; nothing was read");
  ESP_CHECK(!path.empty() && path.front() != '/', name, ": '", printable(path),
            "' is no path inside of the archive; nothing was read");
  std::string result;
  for (const auto& part : std::filesystem::path(path)) {
    ESP_CHECK(part != "..", name, ": '", printable(path), "' climbs out of the archive; nothing was read");
    if (part.empty() || part == ".") continue;
    if (!result.empty()) result += '/';
    result += part.string();
  }
  return result;
}

/// Memory that a path takes where it is listed with every folder above it.
size_t listed_bytes(const std::string& path) {
  return path.size() * (1 + static_cast<size_t>(std::ranges::count(path, '/')));
}

/// What is kept of an entry's content. Its header may say more than comes, so the room grows with the bytes.
class Content {
 public:
  Content(::archive* tar, archive_entry* entry, const Stream& stream, const std::string& place)
      : tar_(tar),
        stream_(stream),
        place_(place),
        size_(static_cast<uint64_t>(std::max<int64_t>(archive_entry_size(entry), 0))) {}

  /// `before` bytes are held of the files before it.
  std::vector<uint8_t> read(const Keep& keep, const std::string& path, size_t before, size_t max_bytes) {
    constexpr size_t beginning = 64;
    fill(std::min<uint64_t>(size_, beginning), before);
    const size_t wanted = std::min<uint64_t>(size_, keep(path, bytes_));
    ESP_CHECK(wanted <= max_bytes - before, place_, ": ", size_, " bytes, and ", before,
              " of the files before it: more than the ", max_bytes, " that an archive may hold");
    bytes_.resize(std::min(bytes_.size(), wanted));
    fill(wanted, before);
    bytes_.shrink_to_fit();
    return std::move(bytes_);
  }

 private:
  void fill(size_t size, size_t before) {
    constexpr size_t step = size_t{1} << 20;
    for (size_t got = bytes_.size(); got < size;) {
      if (bytes_.capacity() < std::min(size, got + step))
        bytes_.reserve(std::min(size, std::max(2 * bytes_.capacity(), step)));
      bytes_.resize(std::min(size, got + step));
      const la_ssize_t count = archive_read_data(tar_, bytes_.data() + got, bytes_.size() - got);
      stream_.rethrow();
      ESP_CHECK(count > 0, place_, ": cannot be read to its end, byte ", size_, ": ",
                count < 0 ? reason(tar_) : "the archive is cut short");
      got += static_cast<size_t>(count);
      bytes_.resize(got);
      // The holes of sparse files, which each could be as large as memory, come out of nothing.
      ESP_CHECK(before + got <= stream_.unpacked(), place_, ": ", size_,
                " bytes, more than the archive holds: is it cut short?");
    }
  }

  ::archive* tar_;
  const Stream& stream_;
  const std::string& place_;
  uint64_t size_;
  std::vector<uint8_t> bytes_;
};

/// Reads what follows the end of the tar, which must be the zeros that end one.
void check_end(Stream& stream, const std::string& name, size_t files) {
  for (size_t padding = 0;;) {
    const size_t size = stream.next().size();
    padding += size;
    if (size == 0) break;
    ESP_CHECK(padding <= longest_padding, name, ": more than ", longest_padding,
              " bytes follow the end of the archive");
  }
  // Between two entries only this tells the end from a cut.
  ESP_CHECK(stream.ends_in_zeros(), name, ": cut short after ", files,
            " files: it does not end in the zeros that end a tar");
}

}  // namespace

size_t keep_all(const std::string&, std::span<const uint8_t>) { return std::numeric_limits<size_t>::max(); }

Archive parse_archive(std::span<const uint8_t> packed, const std::string& name, size_t max_bytes,
                      const Keep& keep) {
  ESP_CHECK(!packed.empty(), name, ": is empty, expected a .tar, .tar.gz or .tar.xz");
  Stream stream(packed, name);
  const std::unique_ptr<::archive, decltype(&archive_read_free)> tar(archive_read_new(), &archive_read_free);
  const bool opened = tar && archive_read_support_format_tar(tar.get()) == ARCHIVE_OK &&
                      archive_read_open(tar.get(), &stream, nullptr, &Stream::read, nullptr) == ARCHIVE_OK;
  stream.rethrow();
  ESP_CHECK(opened, name,
            ": cannot be read as a .tar, .tar.gz or .tar.xz: ", tar ? reason(tar.get()) : "no memory");

  Archive result;
  std::set<std::string> seen;
  size_t held = 0, names = 0;
  archive_entry* entry = nullptr;
  int status = ARCHIVE_OK;
  while ((status = archive_read_next_header(tar.get(), &entry)) != ARCHIVE_EOF) {
    stop_if_interrupted();
    stream.rethrow();
    ESP_CHECK(status == ARCHIVE_OK || status == ARCHIVE_WARN, name, ": broken at byte ",
              archive_read_header_position(tar.get()), ": ", reason(tar.get()));
    const std::string path = relative(path_of(entry), name), place = name + ": " + printable(path);
    names += listed_bytes(path);
    ESP_CHECK(names <= max_names, place, ": the names of the files up to here and of their folders are ",
              names, " bytes, more than the ", max_names, " that they may have");
    ESP_CHECK(!archive_entry_hardlink(entry) && archive_entry_filetype(entry) != AE_IFLNK, place,
              ": is a link, expected only files and folders; nothing was read");
    if (archive_entry_filetype(entry) == AE_IFDIR) {
      if (!path.empty()) result.folders.push_back(path);
      continue;
    }
    ESP_CHECK(archive_entry_filetype(entry) == AE_IFREG && !path.empty(), place,
              ": is neither file nor folder; nothing was read");
    ESP_CHECK(seen.insert(path).second, place, ": is in the archive twice; nothing was read");
    Content content(tar.get(), entry, stream, place);
    result.files.push_back({path, content.read(keep, path, held, max_bytes)});
    held += result.files.back().bytes.size();
  }
  stream.rethrow();
  check_end(stream, name, result.files.size());
  return result;
}

Archive read_archive(const std::filesystem::path& path, const Keep& keep) {
  const size_t max_bytes = std::min(size_t{32} << 30, static_cast<size_t>(physical_memory()));
  const auto packed = read_bytes(path, max_bytes);
  // Images are packed already: they do not become a sixteenth, unless many are the same.
  return parse_archive(packed, path.string(), std::min(max_bytes, 16 * packed.size() + (size_t{256} << 20)),
                       keep);
}

}  // namespace espalier
