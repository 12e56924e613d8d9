#include "espalier/core/physical_memory.h"

#include <gtest/gtest.h>

#include <sys/resource.h>

#include "core/machine.h"
#include "support/bad_input.h"

namespace espalier {
namespace {

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
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_DATA, &before), 0);
  const rlimit small{rlim_t{1} << 23, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_DATA, &small), 0);
  const MemoryLimit limit = memory_limit();
  ASSERT_EQ(::setrlimit(RLIMIT_DATA, &before), 0);
  EXPECT_EQ(limit.bytes, 1 << 23);
  EXPECT_EQ(limit.whose, "the limit on data (ulimit -d) is");
}

TEST(RequireMemory, SaysWhatNeedsItAndWhatThereIs) {
  require_memory(static_cast<double>(memory_limit().bytes), "all of it");
  const std::string message = message_of([] { require_memory(1e18, "x.json: a run needs 1 EB"); });
  EXPECT_TRUE(message.starts_with("x.json: a run needs 1 EB; " + memory_limit().whose + " ")) << message;
}

}  // namespace
}  // namespace espalier
