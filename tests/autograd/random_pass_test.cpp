#include "espalier/autograd/random_pass.h"

#include <gtest/gtest.h>

#include "espalier/core/random.h"
#include "support/bad_input.h"

namespace espalier {
namespace {

TEST(RandomPass, GivesEachOpAStreamAndTheSameToTheSamePass) {
  uint64_t first, second;
  {
    RandomPass pass(7);
    first = RandomPass::next_key(), second = RandomPass::next_key();
    EXPECT_EQ(pass.drawn(), 2u);
  }
  EXPECT_NE(first, second);
  RandomPass again(7);
  EXPECT_EQ(RandomPass::next_key(), first);
  {
    RandomPass inner(8);
    EXPECT_NE(RandomPass::next_key(), first);
  }
  EXPECT_EQ(RandomPass::next_key(), second);  // the inner one took none of its
}

TEST(RandomPass, OutsideOfOneNothingIsDrawn) {
  EXPECT_EQ(message_of([] { RandomPass::next_key(); }),
            "dropout: draws random numbers in training, but nobody gave the pass a key (RandomPass, "
            "autograd/random_pass.h)");
}

}  // namespace
}  // namespace espalier
