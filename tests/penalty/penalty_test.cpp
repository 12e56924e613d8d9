// Names of penalties, and one of a program's own.
#include "espalier/penalty/penalty.h"

#include "penalty/two_channels.h"
#include "run/minimal_config.h"

namespace espalier {
namespace {

TEST(Penalty, IsMadeByName) {
  TwoChannels two;
  EXPECT_EQ(message_of([&] { two.penalty({.type = "group_norn"}); }),
            "regularize: no type 'group_norn', did you mean 'group_norm'?");
  EXPECT_EQ(two.penalty({.type = "l1"})->state().dump(), "{}");
}

/// Of a program: dL/dw += weight w^(power - 1), for all weights.
class PowerPenalty : public Penalty {
 public:
  PowerPenalty(Module& model, const Shape&, const PenaltyOptions& options)
      : model_(model), weight_(options.weight), power_(options.extra.number("power")) {}
  void add_gradients(int64_t) override {
    for (Parameter* parameter : model_.parameters())
      if (parameter->role == Role::weight)
        for (int64_t i = 0; i < parameter->value().elements(); ++i)
          parameter->gradient().f32()[i] +=
              static_cast<float>(weight_ * std::pow(parameter->value().f32()[i], power_ - 1));
  }

 private:
  Module& model_;
  double weight_, power_;
};

TEST(Penalty, OneOfAProgramsOwnIsAddedByName) {
  const PenaltyInfo info{.name = "power",
                         .help = "powers of the weights",
                         .options = {"weight"},
                         .extra = {{.name = "power", .help = "the power", .value = 4.0, .from = 2}},
                         .make = new_penalty<PowerPenalty>};
  penalties().add(info);
  EXPECT_EQ(message_of([&] { penalties().add(info); }), "regularize: 'power' is there already");
  PenaltyInfo taken = info;
  taken.name = "l1";
  EXPECT_EQ(message_of([&] { penalties().add(taken); }), "regularize: 'l1' is there already");

  const char* at = "/stages/0/train/regularize";
  const auto read = [&](const char* value) { return *parse(with(at, value)).stages[0].train->regularize; };
  TwoChannels two;
  expect_near(two.added(read(R"({"type": "power", "weight": 0.5, "power": 3})")), {4.5f, 0.5f, 8, 0});
  expect_near(two.added(read(R"({"type": "power", "weight": 0.5})")), {13.5f, -0.5f, -32, 0});
  EXPECT_EQ(config_json(parse(with(at, R"({"type": "power"})")))["stages"][0]["train"]["regularize"].dump(),
            R"({"type":"power","weight":0.0005,"power":4.0})");
  const auto refusal = [&](const char* value) { return message_of([&] { read(value); }); };
  const std::string place = std::string("x.json: ") + at;
  EXPECT_EQ(refusal(R"({"type": "power", "power": 1})"),
            place + "/power: found 1, expected a number of at least 2");
  EXPECT_EQ(refusal(R"({"type": "l1", "power": 3})"),
            place + "/power: is for type power, and the type is l1");
  EXPECT_EQ(refusal(R"({"type": "power", "ratio": 0.5})"),
            place + "/ratio: is for type greg1 or greg2, and the type is power");
  EXPECT_EQ(message_of([&] {
              two.penalty({.type = "power", .extra = {{"power", 1.0}}});
            }),
            "regularize power: power: found 1, expected from 2 to inf");
}

}  // namespace
}  // namespace espalier
