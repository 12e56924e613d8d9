#include "espalier/core/physical_memory.h"

#include <gtest/gtest.h>

#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

#include "core/machine.h"
#include "support/bad_input.h"

namespace espalier::physical_memory_test {
namespace {

/** The bytes of this process that RLIMIT_DATA counts: data and stack, the sixth figure of /proc/self/statm,
 * in pages. */
int64_t data_bytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t pages = 0;
  for (int field = 0; field < 6; ++field) statm >> pages;
  return pages * ::sysconf(_SC_PAGESIZE);
}

TEST(PhysicalMemory, IsSomeMebibytesAtLeast) { EXPECT_GT(physical_memory(), int64_t{1} << 24); }

TEST(MemoryLimit, IsTheLeastOfMachineAndControlGroups) {
  const Machine own(Machine::version_2, "0::/job\n");
  const std::filesystem::path groups = "sys/fs/cgroup", limit = groups / "job/memory.max";
  const MemoryLimit machine = memory_limit(own.root());
  EXPECT_LE(machine.bytes, physical_memory());
  own.write(limit, "max\n");
  EXPECT_EQ(memory_limit(own.root()).bytes, machine.bytes);
  own.write(limit, "9223372036854771712\n");
  EXPECT_EQ(memory_limit(own.root()).bytes, machine.bytes);
  own.write(limit, "1048576\n");
  EXPECT_EQ(memory_limit(own.root()).bytes, 1 << 20);
  EXPECT_EQ(memory_limit(own.root()).whose, "this process's control group allows");
  own.write(groups / "memory.max", "4096\n");
  EXPECT_EQ(memory_limit(own.root()).bytes, 4096);
}

TEST(MemoryLimit, CountsTheProcesssOwnLimits) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizers' own memory counts as data, and is more";
#endif
  // Room above what the process holds already, its threads' stacks among it: under a limit below that every
  // allocation that needs new pages fails, memory_limit()'s own too.
  const int64_t small = data_bytes() + (int64_t{64} << 20);
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_DATA, &before), 0);
  const rlimit lowered{static_cast<rlim_t>(small), before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_DATA, &lowered), 0);
  const MemoryLimit limit = memory_limit();
  ASSERT_EQ(::setrlimit(RLIMIT_DATA, &before), 0);
  EXPECT_EQ(limit.bytes, small);
  EXPECT_EQ(limit.whose, "the limit on data (ulimit -d) is");
}

TEST(RequireMemory, SaysWhatNeedsItAndWhatThereIs) {
  require_memory(static_cast<double>(memory_limit().bytes), "all of it");
  const std::string message = message_of([] { require_memory(1e18, "x.json: a run needs 1 EB"); });
  EXPECT_TRUE(message.starts_with("x.json: a run needs 1 EB; " + memory_limit().whose + " ")) << message;
}

}  // namespace
}  // namespace espalier::physical_memory_test
