// unpack() takes off the compression, and says where that is cut short; libarchive reads the tar behind it.
#include "espalier/data/archive.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <set>

#include "espalier/core/error.h"
#include "espalier/core/interrupt.h"
#include "espalier/core/physical_memory.h"
#include "espalier/data/file.h"

namespace espalier {
namespace {

constexpr size_t block = 512;

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
  ESP_CHECK(!path.empty() && path.front() != '/', name, ": '", path,
            "' is no path inside of the archive; nothing was read");
  std::string result;
  for (const auto& part : std::filesystem::path(path)) {
    ESP_CHECK(part != "..", name, ": '", path, "' climbs out of the archive; nothing was read");
    if (part.empty() || part == ".") continue;
    if (!result.empty()) result += '/';
    result += part.string();
  }
  return result;
}

std::vector<uint8_t> content(::archive* tar, archive_entry* entry, size_t most, const std::string& place) {
  const auto size = static_cast<uint64_t>(std::max<int64_t>(archive_entry_size(entry), 0));
  ESP_CHECK(size <= most, place, ": ", size, " bytes, more than the archive holds: is it cut short?");
  std::vector<uint8_t> bytes(size);
  for (size_t got = 0; got < bytes.size();) {
    const la_ssize_t count = archive_read_data(tar, bytes.data() + got, bytes.size() - got);
    ESP_CHECK(count > 0, place, ": cannot be read to its end, byte ", size, ": ",
              count < 0 ? reason(tar) : "the archive is cut short");
    got += static_cast<size_t>(count);
  }
  return bytes;
}

}  // namespace

Archive parse_archive(std::vector<uint8_t> packed, const std::string& name, size_t most_bytes) {
  const std::vector<uint8_t> bytes = unpack(std::move(packed), name, most_bytes);
  ESP_CHECK(!bytes.empty(), name, ": is empty, expected a .tar, .tar.gz or .tar.xz");
  const std::unique_ptr<::archive, decltype(&archive_read_free)> tar(archive_read_new(), &archive_read_free);
  ESP_CHECK(tar && archive_read_support_format_tar(tar.get()) == ARCHIVE_OK &&
                archive_read_open_memory(tar.get(), bytes.data(), bytes.size()) == ARCHIVE_OK,
            name, ": cannot be read as a .tar, .tar.gz or .tar.xz: ", tar ? reason(tar.get()) : "no memory");

  Archive result;
  std::set<std::string> seen;
  size_t total = 0;  // sparse files can each be as large as the archive
  archive_entry* entry = nullptr;
  int status = ARCHIVE_OK;
  while ((status = archive_read_next_header(tar.get(), &entry)) != ARCHIVE_EOF) {
    stop_if_interrupted();
    ESP_CHECK(status == ARCHIVE_OK || status == ARCHIVE_WARN, name, ": broken at byte ",
              archive_read_header_position(tar.get()), ": ", reason(tar.get()));
    const std::string path = relative(path_of(entry), name), place = name + ": " + path;
    ESP_CHECK(!archive_entry_hardlink(entry) && archive_entry_filetype(entry) != AE_IFLNK, place,
              ": is a link, expected files and folders alone; nothing was read");
    if (archive_entry_filetype(entry) == AE_IFDIR) {
      if (!path.empty()) result.folders.push_back(path);
      continue;
    }
    ESP_CHECK(archive_entry_filetype(entry) == AE_IFREG && !path.empty(), place,
              ": is neither file nor folder; nothing was read");
    ESP_CHECK(seen.insert(path).second, place, ": is in the archive twice; nothing was read");
    result.files.push_back({path, content(tar.get(), entry, bytes.size() - total, place)});
    total += result.files.back().bytes.size();
  }
  // Between two entries only this tells the end from a cut.
  const size_t tail = std::min(bytes.size(), block);
  ESP_CHECK(tail == block && std::all_of(bytes.end() - block, bytes.end(), [](uint8_t b) { return b == 0; }),
            name, ": cut short after ", result.files.size(),
            " files: it does not end in the zeros that end a tar");
  return result;
}

Archive read_archive(const std::filesystem::path& path) {
  const size_t most_bytes = std::min(size_t{32} << 30, static_cast<size_t>(physical_memory()));
  return parse_archive(read_bytes(path, most_bytes), path.string(), most_bytes);
}

}  // namespace espalier
