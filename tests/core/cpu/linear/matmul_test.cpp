#include "espalier/core/cpu/linear/matmul.h"

#include <gtest/gtest.h>

#include "support/rows.h"
#include "support/threads.h"

namespace espalier::matmul_test {
namespace {

TEST(Matmul, AgainstDouble) {
  const WithThreads two(2);
  for_matmuls([](const MatmulShape& s) {
    const Floats a = random_floats(s.batch * s.m * s.k, 1), b = random_floats(s.batch * s.k * s.n, 2);
    check_output(matmul_formula(doubles(a), doubles(b), s), 1e-5, [&](float* y, bool accumulate) {
      std::vector<char> scratch(cpu::matmul_scratch(s, accumulate));
      cpu::matmul(y, a.data(), b.data(), s, accumulate, scratch.data());
    });
  });
}

TEST(Matmul, NoneIsServedByTheSlowReference) {
  for_matmuls([](const MatmulShape& s) {
    const std::string by = cpu::matmul_served_by(s);
    EXPECT_TRUE(by.starts_with("product (") && by.find("ref") == by.npos) << by;
  });
}

TEST(Matmul, SameThreadsSameBits) {
  const WithThreads two(2);
  const MatmulShape s{6, 65, 65, 64, false, true};
  const Floats a = random_floats(6 * 65 * 64, 1), b = random_floats(6 * 65 * 64, 2);
  Floats first(6 * 65 * 65);
  std::vector<char> scratch(cpu::matmul_scratch(s, false));
  cpu::matmul(first.data(), a.data(), b.data(), s, false, scratch.data());
  for (int i = 0; i < 5; ++i) {
    Floats y(first.size());
    cpu::matmul(y.data(), a.data(), b.data(), s, false, scratch.data());
    ASSERT_TRUE(same_bits(first, y));
  }
}

}  // namespace
}  // namespace espalier::matmul_test
