#include "espalier/core/physical_memory.h"

#include <gtest/gtest.h>

#include <sys/resource.h>

#include <fstream>

#include "support/temporary_folder.h"

namespace espalier {
namespace {

TEST(PhysicalMemory, IsSomeMebibytesAtLeast) { EXPECT_GT(physical_memory(), int64_t{1} << 24); }

TEST(MemoryLimit, IsTheLeastOfMachineAndControlGroups) {
  const TemporaryFolder root;
  const auto group = root / "sys/fs/cgroup/job";
  std::filesystem::create_directories(group);
  std::filesystem::create_directories(root / "proc/self");
  std::ofstream(root / "proc/self/cgroup") << "0::/job\n";
  std::ofstream(root / "proc/self/mountinfo") << "36 35 0:32 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
  const MemoryLimit machine = memory_limit(root.path());
  EXPECT_LE(machine.bytes, physical_memory());
  std::ofstream(group / "memory.max") << "max\n";
  EXPECT_EQ(memory_limit(root.path()).bytes, machine.bytes);
  std::ofstream(group / "memory.max") << "9223372036854771712\n";
  EXPECT_EQ(memory_limit(root.path()).bytes, machine.bytes);
  std::ofstream(group / "memory.max") << "1048576\n";
  EXPECT_EQ(memory_limit(root.path()).bytes, 1 << 20);
  EXPECT_EQ(memory_limit(root.path()).whose, "this process's control group allows");
  std::ofstream(group.parent_path() / "memory.max") << "4096\n";
  EXPECT_EQ(memory_limit(root.path()).bytes, 4096);
}

TEST(MemoryLimit, CountsTheProcesssOwnLimits) {
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_DATA, &before), 0);
  const rlimit small{rlim_t{1} << 23, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_DATA, &small), 0);
  const MemoryLimit limit = memory_limit();
  ASSERT_EQ(::setrlimit(RLIMIT_DATA, &before), 0);
  EXPECT_EQ(limit.bytes, 1 << 23);
  EXPECT_EQ(limit.whose, "the limit on data (ulimit -d) is");
}

}  // namespace
}  // namespace espalier
