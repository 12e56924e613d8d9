#include "espalier/optim/ema.h"

#include <gtest/gtest.h>

#include "optim/support.h"
#include "support/bad_input.h"

namespace espalier {
namespace {

TEST(Ema, FollowsTheValues) {
  const auto p = make_parameter({1, 2}), buffer = make_parameter({5}, Role::buffer);
  const std::vector<Parameter*> all{p.get(), buffer.get()};
  start_average(all);
  EXPECT_FALSE(buffer->state_of("average").defined());
  EXPECT_TRUE(near(p->state_of("average"), Doubles{1, 2}, 0));
  p->value().fill(10);
  EXPECT_TRUE(near(p->state_of("average"), Doubles{1, 2}, 0)) << "a copy";
  update_average(all, 0.9);
  EXPECT_TRUE(near(p->state_of("average"), Doubles{1.9, 2.8}, 1e-7));
  update_average(all, 0.9);
  EXPECT_TRUE(near(p->state_of("average"), Doubles{2.71, 3.52}, 1e-6));
  EXPECT_TRUE(near(p->value(), Doubles{10, 10}, 0));
  drop_average(all);
  EXPECT_FALSE(p->state_of("average").defined());
}

TEST(Ema, StandsInTheValuesPlaceForAWhile) {
  const auto p = make_parameter({1, 2}), without = make_parameter({5});
  start_average({p.get()});
  p->value().fill(10);
  {
    const AverageInPlace swapped({p.get(), without.get()});
    EXPECT_EQ(value_of(*p), (Floats{1, 2}));
    EXPECT_TRUE(near(p->state_of("average"), Doubles{10, 10}, 0));
    EXPECT_EQ(value_of(*without), Floats{5});
  }
  EXPECT_EQ(value_of(*p), (Floats{10, 10}));
  EXPECT_TRUE(near(p->state_of("average"), Doubles{1, 2}, 0));
}

TEST(Ema, TakesTheValuesPlaceForGood) {
  const auto p = make_parameter({1, 2}), without = make_parameter({5});
  start_average({p.get()});
  p->value().fill(10);
  adopt_average({p.get(), without.get()});
  EXPECT_EQ(value_of(*p), (Floats{1, 2}));
  EXPECT_TRUE(p->state.empty());
  EXPECT_EQ(value_of(*without), Floats{5});
}

TEST(Ema, IsWhereItIsExpectedOrAnError) {
  const auto p = make_parameter({1}), frozen = make_parameter({2}),
             buffer = make_parameter({3}, Role::buffer);
  p->name = "fc1.weight";
  frozen->name = "fc2.weight";
  frozen->variable.set_requires_gradient(false);
  const std::vector<Parameter*> all{p.get(), frozen.get(), buffer.get()};
  check_average(all, false);
  EXPECT_EQ(message_of([&] { check_average(all, true); }), "holds no average of fc1.weight, expected one");
  start_average(all);
  check_average(all, true);
  EXPECT_EQ(message_of([&] { check_average(all, false); }), "holds an average of fc1.weight, expected none");
  frozen->state["average"] = Tensor::zeros({1});
  EXPECT_EQ(message_of([&] { check_average(all, true); }), "holds an average of fc2.weight, expected none");
}

TEST(Ema, MaskedWeightsAverageToZero) {
  const auto p = make_parameter({1, 2});
  start_average({p.get()});
  p->set_mask(Tensor::from({2}, std::vector<uint8_t>{0, 1}));
  update_average({p.get()}, 0.5);
  EXPECT_TRUE(near(p->state_of("average"), Doubles{0, 2}, 0));
}

}  // namespace
}  // namespace espalier
