#include <gtest/gtest.h>

#include "support/strided.h"
#include "support/threads.h"

namespace espalier::strided_test {
namespace {

TEST(Strided, CopiesAndAdds) {
  const WithThreads three(3);
  for (const StridedCase& c : strided_cases())
    for (const bool accumulate : {false, true}) {
      SCOPED_TRACE(testing::Message() << c.name << ", accumulate " << accumulate);
      const Floats x = random_floats(c.x_numbers, 1);
      Floats y = random_floats(c.y_numbers, 2), expected = y;
      copy_plainly(expected, x, c.s, accumulate);
      cpu::copy_strided(y.data(), x.data(), c.s, accumulate);
      EXPECT_TRUE(same_bits(y, expected));
    }
}

}  // namespace
}  // namespace espalier::strided_test
