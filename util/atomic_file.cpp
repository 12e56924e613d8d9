// Everything is done relative to the open folder, so that all steps mean the same folder.
#include "espalier/util/atomic_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include <atomic>
#include <charconv>
#include <cstdio>

namespace espalier {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view mark = ".tmp-";

fs::path destination(const fs::path& path) {
  std::error_code ignored;
  const fs::path target = fs::is_symlink(path, ignored) ? fs::weakly_canonical(path, ignored) : path;
  ESP_CHECK(target.has_filename() && !fs::is_directory(target, ignored), path.string(),
            ": cannot write: is a folder, a file name is expected");
  ESP_CHECK(!fs::exists(target, ignored) || fs::is_regular_file(target, ignored), path.string(),
            ": cannot write: is a pipe or a device, which cannot be replaced as a whole");
  return target;
}

FileDescriptor open_folder(const fs::path& path, const std::function<void()>& check) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : ".";
  FileDescriptor opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const int error = errno;
  if (check) check();
  errno = error;
  if (opened.get() < 0) fail_errno(path, "cannot write: its folder");
  return opened;
}

std::string next_temporary_name(const fs::path& path) {
  static std::atomic<int> number = 0;
  return join(path.filename().string(), mark, ::getpid(), "-", number++);
}

/// Creates a file in `folder` whose name no other writer has, not even one that was killed, and says it in
/// `name`.
int create_temporary(const FileDescriptor& folder, const fs::path& path, std::string& name) {
  while (true) {
    name = next_temporary_name(path);
    const int fd = ::openat(folder.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0) return fd;
    if (errno != EEXIST) fail_errno(path, "cannot write: create a temporary file beside it");
  }
}

}  // namespace

AtomicFile::AtomicFile(const OutputPath& to)
    : path_(destination(to.path)),
      folder_(open_folder(path_, to.check)),
      file_(create_temporary(folder_, path_, temporary_)) {}

AtomicFile::~AtomicFile() {
  if (!temporary_.empty()) ::unlinkat(folder_.get(), temporary_.c_str(), 0);
}

void AtomicFile::write(const void* data, size_t bytes) {
  auto* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t put = ::write(file_.get(), from, bytes);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail_errno(path_, "cannot write");
    from += put;
    bytes -= static_cast<size_t>(put);
  }
}

void AtomicFile::commit() {
  if (::fsync(file_.get()) != 0) fail_errno(path_, "cannot write: sync");
  if (::renameat(folder_.get(), temporary_.c_str(), folder_.get(), path_.filename().c_str()) != 0) {
    fail_errno(path_, "cannot write: rename the temporary file");
  }
  temporary_.clear();
  // EINVAL: a file system on which folders cannot be synced.
  if (::fsync(folder_.get()) != 0 && errno != EINVAL)
    fail_errno(path_, "written, but its folder cannot be synced");
}

std::optional<TemporaryName> temporary_name(const std::string& name) {
  const size_t at = name.rfind(mark);
  if (at == name.npos || at == 0) return std::nullopt;
  TemporaryName found{name.substr(0, at), 0};
  int number = 0;
  const char* const end = name.data() + name.size();
  const auto process = std::from_chars(name.data() + at + mark.size(), end, found.process);
  if (process.ec != std::errc() || process.ptr == end || *process.ptr != '-') return std::nullopt;
  const auto rest = std::from_chars(process.ptr + 1, end, number);
  if (rest.ec != std::errc() || rest.ptr != end || found.process <= 0) return std::nullopt;
  return found;
}

void remove_abandoned(const fs::path& path) {
  std::error_code error;
  for (fs::directory_iterator at(path.parent_path(), error), end; !error && at != end; at.increment(error)) {
    const auto temporary = temporary_name(at->path().filename().string());
    if (!temporary || temporary->file != path.filename()) continue;
    std::error_code ignored;
    if (::kill(temporary->process, 0) != 0 && errno == ESRCH) fs::remove(at->path(), ignored);
  }
}

void write_file(const OutputPath& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

void keep_as(const fs::path& file, const OutputPath& as) {
  const fs::path target = destination(as.path);
  std::error_code error;
  if (fs::equivalent(file, target, error)) return;
  const fs::path kept = fs::canonical(file, error);
  fs::path link;
  do {
    link = target.parent_path() / next_temporary_name(target);
    fs::create_hard_link(kept.empty() ? file : kept, link, error);
  } while (error == std::errc::file_exists);
  const bool linked = !error;
  const auto remove_link = [&] {
    if (linked) fs::remove(link, error);
  };
  try {
    if (as.check) as.check();
  } catch (...) {
    remove_link();
    throw;
  }
  if (!linked) return write_file(as, read_file(file));
  if (std::rename(link.c_str(), target.c_str()) != 0) {
    const int code = errno;
    remove_link();
    errno = code;
    fail_errno(as.path, "cannot write: rename the temporary file");
  }
}

}  // namespace espalier
