// The control groups of Linux (version 1 and 2, or both) that this process is in: containers and services are
// held to a share of the machine by files in their groups' folders.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

namespace espalier {

/// Folders of the groups whose limits for `controller` (cpu, memory) hold for this process: its own group and
/// all above, as far as they can be seen from here. None where there are no control groups. `root`: where
/// /proc and the folders are looked for, so that a test can make its own.
std::vector<std::filesystem::path> cgroup_folders(std::string_view controller,
                                                  const std::filesystem::path& root = "/");

}  // namespace espalier
