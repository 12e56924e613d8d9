#include "espalier/core/physical_memory.h"

#include <gtest/gtest.h>

namespace espalier {
namespace {

TEST(PhysicalMemory, IsSomeMebibytesAtLeast) { EXPECT_GT(physical_memory(), int64_t{1} << 24); }

}  // namespace
}  // namespace espalier
