#include "espalier/core/cgroup.h"

#include <gtest/gtest.h>

#include "core/machine.h"

namespace espalier::cgroup_test {
namespace {

namespace fs = std::filesystem;

TEST(CgroupFolders, AreThoseOfTheOwnGroupAndAllAbove) {
  const Machine both(
      std::string(Machine::version_1) + "34 31 0:31 / /sys/fs/cgroup/uni\\040fied rw - cgroup2 c rw\n",
      "2:cpu,cpuacct:/a/b\n0::/c\n");
  const fs::path at = both.root() / "sys/fs/cgroup";
  EXPECT_EQ(cgroup_folders("cpu", both.root()),
            (std::vector<fs::path>{at / "cpu,cpuacct", at / "cpu,cpuacct/a", at / "cpu,cpuacct/a/b",
                                   at / "uni fied", at / "uni fied/c"}));
}

TEST(CgroupFolders, OfAContainerBeginAtItsOwn) {
  // The mount shows only the container's group, which the host calls /docker/x; or the process is in none of
  // it.
  const std::string mount = "30 23 0:26 /docker/x /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
  const Machine inside(mount, "0::/docker/x/y\n"), outside(mount, "0::/elsewhere\n");
  EXPECT_EQ(cgroup_folders("cpu", inside.root()),
            (std::vector<fs::path>{inside.root() / "sys/fs/cgroup", inside.root() / "sys/fs/cgroup/y"}));
  EXPECT_EQ(cgroup_folders("cpu", outside.root()), (std::vector<fs::path>{outside.root() / "sys/fs/cgroup"}));
}

}  // namespace
}  // namespace espalier::cgroup_test
