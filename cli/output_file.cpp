#include "espalier/cli/output_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "espalier/util/error.h"

namespace espalier::cli {
namespace {

namespace fs = std::filesystem;

/// True for a path below `folder`, which is there, through whatever links.
bool is_in(const fs::path& path, const fs::path& folder) {
  std::error_code none;
  const fs::path inner = fs::canonical(path, none), outer = fs::canonical(folder, none);
  return !inner.empty() && !outer.empty() && std::ranges::mismatch(outer, inner).in1 == outer.end();
}

}  // namespace

void check_output(const std::string& option, const std::string& file,
                  const std::vector<std::string>& inputs) {
  std::error_code none;
  for (const std::string& input : inputs) {
    if (fs::equivalent(file, input, none))
      fail_usage(option, ": ", file, " is ", file == input ? "" : input + ", ",
                 "what the command reads, and would be overwritten");
    if (fs::is_directory(input, none) && fs::exists(file, none) && is_in(file, input))
      fail_usage(option, ": ", file, " is a file of ", input,
                 ", which the command reads, and would be overwritten");
  }
}

void check_standard_output(const std::string& command, const std::string& input) {
  struct stat out, in;
  if (::fstat(STDOUT_FILENO, &out) != 0 || !S_ISREG(out.st_mode) || ::stat(input.c_str(), &in) != 0) return;
  if (out.st_dev == in.st_dev && out.st_ino == in.st_ino)
    fail_usage(command, ": standard output goes to ", input, ", which the command reads");
}

}  // namespace espalier::cli
