// How much memory this machine has, and how much of it this process may have, so that what cannot fit is
// refused before it is asked for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace espalier {

/// Of the machine, in bytes.
int64_t physical_memory();

struct MemoryLimit {
  int64_t bytes;
  std::string whose;  ///< "this machine has", for "... and this machine has 16 GB"
};

/// The least of what the machine has, what the control group allows, and what the limits on address space and
/// data (ulimit -v, ulimit -d) allow. `root`: see cgroup_folders.
MemoryLimit memory_limit(const std::filesystem::path& root = "/");

/// Error "WHAT; this machine has 16 GB" where that is less than `bytes`; `what` says what needs them.
void require_memory(double bytes, const std::string& what);

}  // namespace espalier
