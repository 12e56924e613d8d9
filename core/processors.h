// How many processors this process may use.
#pragma once

#include <filesystem>

namespace espalier {

/// The processors it may run on (its affinity), and no more than the control groups it is in let it use: half
/// a processor's time is 1, one and a half are 2. `root`: see cgroup_folders.
int processors(const std::filesystem::path& root = "/");

}  // namespace espalier
