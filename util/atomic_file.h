// Files that are written: all of it or nothing. The bytes go to a temporary file in the same folder, which is
// synced and renamed at the end, so that whatever fails, what was on disk before is untouched.
#pragma once

#include <sys/types.h>

#include <concepts>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "espalier/util/file_descriptor.h"
#include "espalier/util/input_file.h"

namespace espalier {

/// Where a file is to be written. `check` is called once its folder is open, before anything is written
/// there, and throws to forbid it: by then the folder may be another than the one that was looked at.
struct OutputPath {
  template <class Path>
  requires std::convertible_to<Path, std::filesystem::path> OutputPath(
      Path&& where, std::function<void()> check = {})  // NOLINT: any path will do
      : path(std::forward<Path>(where)), check(std::move(check)) {}

  std::filesystem::path path;
  std::function<void()> check;
};

/// AtomicFile file(path); file.write(data, bytes); ...; file.commit();
///
/// The temporary file is PATH.tmp-PROCESS-NUMBER; without a commit it is removed at the end. A symbolic link
/// is followed; a path that names a folder, a pipe or a device is refused. Every failure (a full disk, a
/// file-size limit, a folder that is missing or may not be written) is an Error with the path, the step and
/// the system's reason; a file-size limit raises SIGXFSZ as well, which the program has to ignore.
class AtomicFile {
 public:
  explicit AtomicFile(const OutputPath& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  /// Syncs the file, puts it in the place of what was there, and syncs the folder.
  void commit();

 private:
  std::filesystem::path path_;
  FileDescriptor folder_;
  std::string temporary_;  ///< its name in the folder; empty once it is committed
  FileDescriptor file_;
};

/// What the name of an AtomicFile's temporary file says.
struct TemporaryName {
  std::string file;  ///< what it would have become
  pid_t process;     ///< that writes it, or was killed as it did
};
/// Nothing for any other name.
std::optional<TemporaryName> temporary_name(const std::string& name);

/// Removes the temporary files that processes which are gone left of `file`, for whoever has no lock on its
/// folder; those of live processes stay. What cannot be listed or removed stays, too.
void remove_abandoned(const std::filesystem::path& file);

/// Writes a complete file at once, atomically.
void write_file(const OutputPath& path, std::string_view content);

/// Gives what is in `file` now the name `as`, too, and keeps it there when an AtomicFile takes the place of
/// `file`: without a copy where the file system can do that.
void keep_as(const std::filesystem::path& file, const OutputPath& as);

}  // namespace espalier
