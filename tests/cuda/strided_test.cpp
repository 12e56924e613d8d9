#include "support/strided.h"

#include "cuda/card.h"
#include "cuda/support.h"

namespace espalier::strided_test {
namespace {

using CudaStrided = OnCard<>;

TEST_F(CudaStrided, CopiesAndAdds) {
  for (const StridedCase& c : strided_cases())
    for (const bool accumulate : {false, true})
      for (const int64_t offset : {0, 1}) {
        SCOPED_TRACE(testing::Message() << c.name << ", accumulate " << accumulate << ", offset " << offset);
        const Floats x = random_floats(c.x_numbers, 1);
        Floats expected = random_floats(c.y_numbers, 2);
        const OnDevice<float> at_x(x, offset), y(expected, offset);
        copy_plainly(expected, x, c.s, accumulate);
        cuda::copy_strided(y, at_x, c.s, accumulate);
        EXPECT_TRUE(same(y, expected));
      }
}

}  // namespace
}  // namespace espalier::strided_test
