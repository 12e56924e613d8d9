#include "espalier/core/processors.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <fstream>
#include <string>

#include "espalier/core/cgroup.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;

/// A machine of a test's own: /proc/self and the folders of control groups.
class Machine {
 public:
  /// Each group is mounted in whole at /sys/fs/cgroup, the process is in /a/b.
  static constexpr const char* version_2 =
      "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
  static constexpr const char* version_1 =
      "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
      "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
      "33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n";

  Machine(const std::string& mounts, const std::string& groups) {
    write("proc/self/mountinfo", mounts);
    write("proc/self/cgroup", groups);
  }

  void write(const fs::path& file, const std::string& text) const {
    fs::create_directories((folder_ / file).parent_path());
    std::ofstream(folder_ / file) << text;
  }
  const fs::path& root() const { return folder_; }

 private:
  TemporaryFolder temporary_;
  fs::path folder_ = temporary_.path();
};

/// The processors of the tests' own machine: no quota can give more.
int all() { return processors(Machine("", "").root()); }

/// What a group in /a/b gets; the expectation is for a machine with processors enough.
void expect_processors(const Machine& machine, int expected) {
  EXPECT_EQ(processors(machine.root()), std::min(expected, all()));
}

TEST(Processors, AreThoseOfTheAffinityWithoutControlGroups) {
  cpu_set_t set;
  ASSERT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
  EXPECT_EQ(all(), CPU_COUNT(&set));
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++i)
    if (CPU_ISSET(i, &set)) CPU_SET(i, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(all(), 1);
  sched_setaffinity(0, sizeof set, &set);
}

TEST(Processors, QuotasOfVersion2AreRoundedUp) {
  const Machine machine(Machine::version_2, "0::/a/b\n");
  expect_processors(machine, all());  // no file: no limit
  machine.write("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  expect_processors(machine, all());
  machine.write("sys/fs/cgroup/a/b/cpu.max", "50000 100000\n");
  expect_processors(machine, 1);
  machine.write("sys/fs/cgroup/a/b/cpu.max", "150000 100000\n");
  expect_processors(machine, 2);
  machine.write("sys/fs/cgroup/a/b/cpu.max", "100000 100000\n");
  expect_processors(machine, 1);
}

TEST(Processors, QuotasOfVersion1AreRoundedUp) {
  const Machine machine(Machine::version_1, "3:cpuset:/other\n2:cpu,cpuacct:/a/b\n1:name=systemd:/x\n");
  const auto set = [&](const char* quota) {
    machine.write("sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", quota);
    machine.write("sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us", "100000\n");
  };
  expect_processors(machine, all());
  set("-1\n");
  expect_processors(machine, all());
  set("50000\n");
  expect_processors(machine, 1);
  set("150000\n");
  expect_processors(machine, 2);
}

TEST(Processors, AGroupAboveMayHaveTheLeast) {
  const Machine machine(Machine::version_2, "0::/a/b\n");
  machine.write("sys/fs/cgroup/a/b/cpu.max", "400000 100000\n");
  machine.write("sys/fs/cgroup/a/cpu.max", "20000 100000\n");
  expect_processors(machine, 1);
}

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
  // The mount shows the container's group alone, which the host calls /docker/x; or the process is in none of
  // it.
  const std::string mount = "30 23 0:26 /docker/x /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
  const Machine inside(mount, "0::/docker/x/y\n"), outside(mount, "0::/elsewhere\n");
  EXPECT_EQ(cgroup_folders("cpu", inside.root()),
            (std::vector<fs::path>{inside.root() / "sys/fs/cgroup", inside.root() / "sys/fs/cgroup/y"}));
  EXPECT_EQ(cgroup_folders("cpu", outside.root()), (std::vector<fs::path>{outside.root() / "sys/fs/cgroup"}));
}

}  // namespace
}  // namespace espalier
