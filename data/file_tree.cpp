// Folders are walked in full before anything is read, so that both kinds are listed alike.
#include "espalier/data/file_tree.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include "espalier/core/random.h"
#include "espalier/data/file.h"
#include "espalier/util/error.h"
#include "espalier/util/interrupt.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;

constexpr size_t max_file_bytes = size_t{1} << 30;  // of one file

bool hidden(const fs::path& path) {
  return std::any_of(path.begin(), path.end(), [](const fs::path& name) {
    return name.string().starts_with('.') || name == "__MACOSX";
  });
}

/// The folders from the first to the one that is walked, so that a link back to one of them is noticed.
class Ancestors {
 public:
  /// `folder` is what is walked at this depth. An Error if it is above itself.
  void enter(size_t depth, const fs::path& folder) {
    struct stat status;
    if (::stat(folder.c_str(), &status) != 0) return;  // listing it says so
    const std::pair<dev_t, ino_t> id(status.st_dev, status.st_ino);
    ids_.resize(depth);
    ESP_CHECK(std::ranges::find(ids_, id) == ids_.end(), folder.string(),
              ": is a link to a folder that it lies in: a loop, which has no end");
    ids_.push_back(id);
  }

 private:
  std::vector<std::pair<dev_t, ino_t>> ids_;
};

/// Calls each(entry, whether it is a folder, relative path) for everything below `root` that is not hidden.
template <class Each>
void walk(const fs::path& root, Each&& each) {
  std::error_code error;
  fs::recursive_directory_iterator at(root, fs::directory_options::follow_directory_symlink, error), end;
  ESP_CHECK(!error, root.string(), ": cannot be listed: ", error.message());
  Ancestors ancestors;
  ancestors.enter(0, root);
  while (at != end) {
    stop_if_interrupted();
    const fs::path path = at->path().lexically_relative(root);
    if (hidden(at->path().filename())) {
      at.disable_recursion_pending();
    } else {
      const fs::file_status status = at->status(error);
      ESP_CHECK(fs::status_known(status), at->path().string(), ": cannot be looked at: ", error.message());
      const bool is_folder = fs::is_directory(status);
      if (is_folder) ancestors.enter(static_cast<size_t>(at.depth()) + 1, at->path());
      each(*at, is_folder, path.generic_string());
    }
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
  if (file.is_other(error)) return path;  // a pipe or a device, which reading it will say
  const auto size = file.file_size(error);
  ESP_CHECK(!error, file.path().string(), ": cannot be read: ", error.message());
  const auto time = file.last_write_time(error);
  ESP_CHECK(!error, file.path().string(), ": cannot be read: ", error.message());
  return fmt::format("{} {} {}", path, size, time.time_since_epoch().count());
}

}  // namespace

FileTree::FileTree(const fs::path& root, const Keep& keep) : root_(root), is_archive_(!is_folder(root)) {
  if (!is_archive_) {
    walk(root, [&](const fs::directory_entry&, bool is_folder, const std::string& path) {
      paths_.push_back(is_folder ? path + "/" : path);
    });
    std::ranges::sort(paths_);
    return;
  }
  Archive archive = read_archive(root, keep);
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
  return is_archive_ ? archived_.at(path) : read_bytes(root_ / path, max_file_bytes);
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
  walk(root, [&](const fs::directory_entry& entry, bool is_folder, const std::string& path) {
    sum += hash(is_folder ? path + "/" : file_line(entry, path));
    ++files;
  });
  return fmt::format("{} {} {:016x}", absolute, files, sum);
}

}  // namespace espalier
