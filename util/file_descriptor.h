// An open file: closed at the end of its scope. And the one way a failed system call becomes an Error.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "espalier/util/error.h"

namespace espalier {

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

  int get() const { return fd_; }

 private:
  int fd_;
};

/// Throws "PATH: WHAT: what errno says".
[[noreturn]] inline void fail_errno(const std::filesystem::path& path, const char* what) {
  const int code = errno;
  fail(path.string(), ": ", what, ": ", std::generic_category().message(code));
}

}  // namespace espalier
