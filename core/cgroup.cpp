#include "espalier/core/cgroup.h"

#include <fstream>
#include <sstream>
#include <string>

namespace espalier {
namespace {

namespace fs = std::filesystem;

/// Whether `name` is one of "cpu,cpuacct".
bool lists(const std::string& names, std::string_view name) {
  std::istringstream in(names);
  for (std::string each; std::getline(in, each, ',');)
    if (each == name) return true;
  return false;
}

/// A path as mountinfo writes it: "\040" is a space.
std::string unescaped(const std::string& text) {
  std::string path;
  for (size_t i = 0; i < text.size(); ++i)
    if (text[i] == '\\' && i + 3 < text.size()) {
      path += static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8));
      i += 3;
    } else {
      path += text[i];
    }
  return path;
}

/// Where a hierarchy of groups is mounted, and which of its groups is the mount's own folder.
struct Mount {
  bool unified;  ///< version 2: one hierarchy for all controllers
  std::string group, folder;
};

/// Those that may hold limits of `controller`.
std::vector<Mount> mounts(std::string_view controller, const fs::path& root) {
  std::vector<Mount> found;
  std::ifstream file(root / "proc/self/mountinfo");
  // "36 35 0:32 / /sys/fs/cgroup/memory rw,relatime shared:7 - cgroup cgroup rw,memory"
  for (std::string line; std::getline(file, line);) {
    const size_t dash = line.find(" - ");
    if (dash == line.npos) continue;
    std::string skipped, group, folder, type, source, options;
    std::istringstream(line.substr(0, dash)) >> skipped >> skipped >> skipped >> group >> folder;
    std::istringstream(line.substr(dash + 3)) >> type >> source >> options;
    if (type == "cgroup2" || (type == "cgroup" && lists(options, controller)))
      found.push_back({type == "cgroup2", unescaped(group), unescaped(folder)});
  }
  return found;
}

/// This process's group in the hierarchy, e.g. "/user.slice"; empty: none.
std::string own_group(bool unified, std::string_view controller, const fs::path& root) {
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // "4:cpu,cpuacct:/a/b", version 2: "0::/a/b"
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == line.npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (unified ? controllers.empty() : lists(controllers, controller)) return line.substr(second + 1);
  }
  return "";
}

}  // namespace

std::vector<fs::path> cgroup_folders(std::string_view controller, const fs::path& root) {
  std::vector<fs::path> folders;
  for (const Mount& mount : mounts(controller, root)) {
    const fs::path top = root / fs::path(mount.folder).relative_path();
    const fs::path below =
        fs::path(own_group(mount.unified, controller, root)).lexically_relative(mount.group);
    fs::path folder = top;
    folders.push_back(folder);
    if (below.empty() || *below.begin() == "..")
      continue;  // a group that is not in sight: a container's host's
    for (const fs::path& name : below)
      if (name != ".") folders.push_back(folder /= name);
  }
  return folders;
}

}  // namespace espalier
