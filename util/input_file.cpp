// Reading by POSIX calls, so that data lands where it stays and errors keep their cause.
#include "espalier/util/input_file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include <algorithm>

#include "espalier/util/interrupt.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

/// Without O_NONBLOCK a named pipe would hold the program until somebody opens its other end.
int open_to_read(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) fail_errno(path, "cannot open");
  return fd;
}

struct stat status_of(const FileDescriptor& file, const std::filesystem::path& path) {
  struct stat status;
  if (::fstat(file.get(), &status) != 0) fail_errno(path, "cannot examine");
  ESP_CHECK(!S_ISDIR(status.st_mode), path.string(), ": is a folder, a file is expected");
  return status;
}

/// Waits for what is written to a pipe: as long as it takes where somebody holds its other end, but not for
/// ever where nobody does.
void await_writer(const FileDescriptor& pipe, const std::filesystem::path& path, std::string& text) {
  constexpr int patience_ms = 2000;
  pollfd wanted{.fd = pipe.get(), .events = POLLIN, .revents = 0};
  if (::poll(&wanted, 1, patience_ms) > 0) return;
  char first;
  const ssize_t got = ::read(pipe.get(), &first, 1);  // 0: no writer; EAGAIN: one that is slow
  ESP_CHECK(got != 0, path.string(), ": is a pipe that nobody writes to");
  if (got > 0) text += first;
}

}  // namespace

InputFile::InputFile(const std::filesystem::path& path) : path_(path), file_(open_to_read(path)) {
  const struct stat status = status_of(file_, path_);
  ESP_CHECK(S_ISREG(status.st_mode), path_.string(), ": is a pipe or a device, a regular file is expected");
  size_ = static_cast<uint64_t>(status.st_size);
}

void InputFile::read(void* into, size_t bytes, uint64_t offset) const {
  constexpr size_t max_piece = size_t{16} << 20;  // at once: till an interrupt is seen
  auto* to = static_cast<char*>(into);
  while (bytes > 0) {
    const ssize_t got = ::pread(file_.get(), to, std::min(bytes, max_piece), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_errno(path_, "cannot read");
    ESP_CHECK(got > 0, path_.string(), ": ends at byte ", offset, ", ", bytes, " more were expected");
    to += got;
    bytes -= static_cast<size_t>(got);
    offset += static_cast<uint64_t>(got);
    if (bytes > 0) stop_if_interrupted();
  }
}

void require_present(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::status(path, error).type() == std::filesystem::file_type::not_found)
    fail_usage(printable(path.string()), ": cannot open: No such file or directory");
}

void require_file(const std::filesystem::path& path) {
  require_present(path);
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    fail_usage(printable(path.string()), ": is a folder, a file is expected");
}

void check_regular(const std::filesystem::path& path) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  ESP_CHECK(!std::filesystem::exists(status) || std::filesystem::is_regular_file(status), path.string(),
            ": is ", std::filesystem::is_directory(status) ? "a folder" : "a pipe or a device",
            ", a regular file is expected");
}

std::string read_file(const std::filesystem::path& path, size_t limit) {
  const FileDescriptor file(open_to_read(path));
  const struct stat status = status_of(file, path);
  std::string text;
  if (S_ISFIFO(status.st_mode)) await_writer(file, path, text);
  ::fcntl(file.get(), F_SETFL, ::fcntl(file.get(), F_GETFL) & ~O_NONBLOCK);
  char buffer[1 << 16];
  while (true) {
    const ssize_t got = ::read(file.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_errno(path, "cannot read");
    if (got == 0) return text;
    text.append(buffer, static_cast<size_t>(got));
    ESP_CHECK(text.size() <= limit, path.string(), ": is longer than the ", limit,
              " bytes allowed for such a file");
  }
}

}  // namespace espalier
