#include "espalier/core/cpu/linear/gemv.h"

#include <gtest/gtest.h>

#include "support/numbers.h"

namespace espalier::gemv_test {
namespace {

TEST(Gemv, EqualsANaiveLoopForAnyNumberOfRows) {
  for (const LinearShape s :
       {LinearShape{1, 1, 1}, {1, 784, 256}, {2, 33, 7}, {3, 17, 9}, {4, 100, 31}, {5, 5, 8}, {11, 129, 13}})
    for (const bool bias : {false, true}) {
      const Floats x = random_floats(s.n * s.in, 1), w = random_floats(s.out * s.in, 2),
                   b = random_floats(s.out, 3);
      Doubles expected;
      for (int64_t n = 0; n < s.n; ++n)
        for (int64_t o = 0; o < s.out; ++o) {
          double sum = bias ? b[o] : 0.0;
          for (int64_t i = 0; i < s.in; ++i) sum += static_cast<double>(x[n * s.in + i]) * w[o * s.in + i];
          expected.push_back(sum);
        }
      Floats y(s.n * s.out);
      cpu::gemv(y.data(), x.data(), w.data(), bias ? b.data() : nullptr, s);
      EXPECT_TRUE(near(y, expected, 1e-5)) << s.n << "x" << s.in << "x" << s.out;
    }
}

}  // namespace
}  // namespace espalier::gemv_test
