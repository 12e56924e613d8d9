#include "espalier/run/predict.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/bad_input.h"
#include "support/numbers.h"

namespace espalier {
namespace {

TEST(Likeliest, AreSoftmaxInFallingOrderAndEqualsByNumber) {
  const Tensor logits = Tensor::from({2, 3}, Floats{0, 1000, 1000, 1, 0, 2});
  const auto rows = likeliest(logits, 2);
  ASSERT_EQ(rows.size(), 2u);
  ASSERT_EQ(rows[0].size(), 2u);
  EXPECT_EQ(rows[0][0].number, 1);
  EXPECT_EQ(rows[0][1].number, 2);
  EXPECT_DOUBLE_EQ(rows[0][0].probability, 0.5) << "large logits do not overflow";
  EXPECT_EQ(rows[1][0].number, 2);
  EXPECT_DOUBLE_EQ(rows[1][0].probability, std::exp(2.0) / (1 + std::exp(1.0) + std::exp(2.0)));
  EXPECT_EQ(likeliest(logits, 9)[0].size(), 3u) << "no more than there are";
}

TEST(Likeliest, OutputsThatAreNoNumbersAreRefused) {
  EXPECT_EQ(message_of([] {
              likeliest(Tensor::full({1, 2}, NAN), 1);
            }),
            "the network's output is not finite");
}

}  // namespace
}  // namespace espalier
