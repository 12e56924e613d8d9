#include "espalier/core/processors.h"

#include <gtest/gtest.h>
#include <sched.h>

#include "core/machine.h"

namespace espalier::processors_test {
namespace {

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

}  // namespace
}  // namespace espalier::processors_test
