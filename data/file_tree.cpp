// Folders are walked in full before anything is read, so that both kinds are listed alike.
#include "espalier/data/file_tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <system_error>

#include "espalier/core/error.h"
#include "espalier/core/interrupt.h"
#include "espalier/core/random.h"
#include "espalier/data/archive.h"
#include "espalier/data/file.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;

constexpr size_t most_bytes = size_t{1} << 30;  // of one file

bool hidden(const fs::path& path) {
  return std::any_of(path.begin(), path.end(), [](const fs::path& name) {
    return name.string().starts_with('.') || name == "__MACOSX";
  });
}

/// Calls each(entry, relative path) for everything below `root` that is not hidden.
template <class Each>
void walk(const fs::path& root, Each&& each) {
  std::error_code error;
  fs::recursive_directory_iterator at(root, fs::directory_options::follow_directory_symlink, error), end;
  ESP_CHECK(!error, root.string(), ": cannot be listed: ", error.message());
  while (at != end) {
    stop_if_interrupted();
    const fs::path path = at->path().lexically_relative(root);
    if (hidden(at->path().filename()))
      at.disable_recursion_pending();
    else
      each(*at, path.generic_string());
    at.increment(error);
    ESP_CHECK(!error, (root / path).string(), ": cannot be listed: ", error.message());
  }
}

bool is_folder(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  ESP_CHECK(fs::exists(status), path.string(), ": ",
            error ? error.message() : "there is no such folder or archive");
  return fs::is_directory(status);
}

std::string file_line(const fs::directory_entry& file, const std::string& path) {
  std::error_code error;
  const auto size = file.file_size(error);
  ESP_CHECK(!error, file.path().string(), ": cannot be read: ", error.message());
  const auto time = file.last_write_time(error);
  ESP_CHECK(!error, file.path().string(), ": cannot be read: ", error.message());
  return fmt::format("{} {} {}", path, size, time.time_since_epoch().count());
}

}  // namespace

FileTree::FileTree(const fs::path& root) : root_(root), is_archive_(!is_folder(root)) {
  if (!is_archive_) {
    walk(root, [&](const fs::directory_entry& entry, const std::string& path) {
      paths_.push_back(entry.is_directory() ? path + "/" : path);
    });
    std::ranges::sort(paths_);
    return;
  }
  Archive archive = read_archive(root);
  std::set<std::string> paths;
  const auto add_folders = [&](const std::string& path) {
    for (size_t slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1))
      paths.insert(path.substr(0, slash + 1));
  };
  for (const std::string& folder : archive.folders)
    if (!hidden(folder)) add_folders(folder + "/");
  for (Archive::File& file : archive.files) {
    if (hidden(file.path)) continue;
    add_folders(file.path);
    paths.insert(file.path);
    archived_[file.path] = std::move(file.bytes);
  }
  paths_.assign(paths.begin(), paths.end());
}

std::string FileTree::place(const std::string& path) const {
  return is_archive_ ? root_.string() + ": " + path : (root_ / path).string();
}

std::vector<uint8_t> FileTree::read(const std::string& path) const {
  return is_archive_ ? archived_.at(path) : read_bytes(root_ / path, most_bytes);
}

uint64_t hash(std::string_view text) {
  uint64_t h = 0xCBF29CE484222325u;  // FNV-1a, then mixed
  for (unsigned char byte : text) h = (h ^ byte) * 0x100000001B3u;
  return mix64(h);
}

std::string fingerprint(const fs::path& root) {
  const std::string absolute = fs::absolute(root).lexically_normal().string();
  if (!is_folder(root)) return file_line(fs::directory_entry(root), absolute);
  uint64_t sum = 0, files = 0;
  walk(root, [&](const fs::directory_entry& entry, const std::string& path) {
    sum += hash(entry.is_directory() ? path + "/" : file_line(entry, path));
    ++files;
  });
  return fmt::format("{} {} {:016x}", absolute, files, sum);
}

}  // namespace espalier
