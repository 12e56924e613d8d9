#include "espalier/channels/surgery.h"
#include "penalty/two_channels.h"

namespace espalier {
namespace {

PenaltyOptions greg(const std::string& type, double max) {
  return {.type = type, .ratio = 0.5, .growth = 0.1, .every = 2, .max = max};
}

std::string chosen(const Penalty& penalty) { return penalty.state().dump(); }

TEST(GregPenalty, Greg1PushesOutWhatItChose) {
  TwoChannels two;
  const auto penalty = two.penalty(greg("greg1", 0.25));
  EXPECT_EQ(chosen(*penalty), R"({"chosen":{}})");
  expect_near(two.added(*penalty, 0), {0, 0, 0, 0});
  EXPECT_EQ(chosen(*penalty), R"({"chosen":{"fc1":[1]}})");
  expect_near(two.added(*penalty, 2), {0, -0.1f, 0, 0});
  two.w1.value() = Tensor::from({2, 1}, Floats{0.1f, 100});  // chosen is chosen
  expect_near(two.added(*penalty, 5), {0, 20, 0, 0});
  expect_near(two.added(*penalty, 1000), {0, 25, 0, 0});

  const auto resumed = two.penalty(greg("greg1", 0.25));
  resumed->restore(penalty->state(), "");
  EXPECT_EQ(two.added(*resumed, 5), two.added(*penalty, 5));
}

TEST(GregPenalty, Greg2PullsAtAllFirst) {
  TwoChannels two;
  const auto penalty = two.penalty(greg("greg2", 2));
  expect_near(two.added(*penalty, 2), {0.03f, -0.01f, -0.04f, 0});
  EXPECT_EQ(chosen(*penalty), R"({"chosen":{}})");
  expect_near(two.added(*penalty, 4), {0, -0.02f, 0, 0});
  expect_near(two.added(*penalty, 6), {0, -0.12f, 0, 0});
}

TEST(GregPenalty, ChoosesAnewAfterACut) {
  TwoChannels two;
  const auto penalty = two.penalty(greg("greg1", 1));
  two.added(*penalty);
  cut(two.net, {{"fc1.weight", 0, 2, {0}}, {"fc1.bias", 0, 2, {0}}, {"fc2.weight", 1, 2, {0}}});
  EXPECT_EQ(chosen(*penalty), R"({"chosen":{}})") << "channel 1 is no more";
  clear_gradients(two.net);
  penalty->add_gradients(2);
  EXPECT_EQ(chosen(*penalty), R"({"chosen":{"fc1":[0]}})");
  expect_near(numbers(two.w1.gradient()), {0.3f});
}

TEST(GregPenalty, RefusesChosenChannelsThatAreNot) {
  TwoChannels two;
  const auto penalty = two.penalty({.type = "greg1"});
  penalty->restore({{"chosen", {{"fc1", {2}}}}}, "");
  EXPECT_EQ(message_of<Error>([&] { two.added(*penalty, 5); }),
            "regularize: channel 2 of fc1 was chosen, which has 2");
  EXPECT_EQ(message_of<Error>([&] {
              penalty->restore({{"chosen", 3}}, "here");
            }),
            "here: /chosen: found 3, expected an object");
}

}  // namespace
}  // namespace espalier
