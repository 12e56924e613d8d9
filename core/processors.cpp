#include "espalier/core/processors.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "espalier/core/cgroup.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;

/// The processors that the system may run this process on.
int affinity() {
  std::vector<cpu_set_t> sets(1);  // of 1,024 processors; a machine may have more
  while (sched_getaffinity(0, sets.size() * sizeof(cpu_set_t), sets.data()) != 0) {
    if (errno != EINVAL || sets.size() > 1024) return 1;
    sets.resize(2 * sets.size());
  }
  return CPU_COUNT_S(sets.size() * sizeof(cpu_set_t), sets.data());
}

/// Processors' worth of time that the group in `folder` may use in each period; none: no limit.
std::optional<double> quota(const fs::path& folder) {
  std::string time;
  double period = 0;
  // Version 2: "max 100000" or "150000 100000", microseconds. Version 1: a file each, and -1 for no limit.
  if (std::ifstream file(folder / "cpu.max"); !(file >> time >> period)) {
    std::ifstream times(folder / "cpu.cfs_quota_us"), periods(folder / "cpu.cfs_period_us");
    if (!(times >> time && periods >> period)) return std::nullopt;
  }
  const double microseconds = std::strtod(time.c_str(), nullptr);  // of "max": 0
  if (!(microseconds > 0) || !(period > 0)) return std::nullopt;
  return microseconds / period;
}

}  // namespace

int processors(const fs::path& root) {
  double count = affinity();
  for (const fs::path& folder : cgroup_folders("cpu", root))
    if (const auto max_count = quota(folder)) count = std::min(count, *max_count);
  return std::max(1, static_cast<int>(std::ceil(count)));
}

}  // namespace espalier
