// What a program registers, its configs use: fields, defaults, messages, help and schema.
#include <gtest/gtest.h>

#include "espalier/config/schema_help.h"
#include "espalier/nn/init.h"
#include "espalier/optim/optimizer.h"
#include "espalier/run/build.h"
#include "espalier/run/unregistered.h"
#include "espalier/train/callbacks.h"
#include "run/minimal_config.h"
#include "support/bad_input.h"

namespace espalier {
namespace {

using Json = nlohmann::ordered_json;

/// w -= lr sign(g)
class SignStep : public Optimizer {
 public:
  explicit SignStep(const std::vector<Parameter*>& parameters, double smallest)
      : Optimizer(parameters, 0, 0), smallest_(smallest) {}
  void set_momentum(double) override {}

 protected:
  void update(Device, const std::vector<UpdateSpan>& spans, const GroupStep& step) override {
    for (const UpdateSpan& span : spans)
      for (int64_t i = 0; i < span.n; ++i)
        if (std::abs(span.g[i]) >= smallest_) span.w[i] -= span.g[i] > 0 ? step.lr : -step.lr;
  }

 private:
  double smallest_;
};

class Counting : public Callback {
 public:
  explicit Counting(int64_t from) : steps_(from) {}
  void after_step(TrainState&) override { ++steps_; }
  std::string name() const override { return "counting"; }
  Json state(const TrainState&) override { return {{"steps", steps_}}; }

 private:
  int64_t steps_;
};

void register_both() {
  if (optimizers().find("sign")) return;
  optimizers().add(
      {.name = "sign",
       .help = "a step of one size",
       .extra = {{.name = "smallest", .help = "gradients below it move nothing", .value = 0.25, .from = 0}},
       .make = [](const std::vector<Parameter*>& parameters,
                  const OptimizerOptions& options) -> std::unique_ptr<Optimizer> {
         return std::make_unique<SignStep>(parameters, options.extra.number("smallest"));
       }});
  callbacks().add({.name = "counting",
                   .help = "counts steps",
                   .extra = {{.name = "from", .help = "where it begins", .value = 5}},
                   .make = [](const ExtraOptions& options) -> std::unique_ptr<Callback> {
                     return std::make_unique<Counting>(options.whole("from"));
                   }});
}

Json with_both() {
  Json json = minimal();
  json["stages"][0]["train"]["optimizer"] = {{"type", "sign"}, {"lr", 0.5}, {"smallest", 2.0}};
  json["stages"][0]["train"]["callbacks"] = {{{"type", "counting"}}};
  return json;
}

std::string refusal(const std::function<void(Json&)>& change) {
  Json json = with_both();
  change(json["stages"][0]["train"]);
  return message_of<UsageError>([&] { parse(json); });
}

TEST(Registration, WithoutCallbacksAConfigCannotNameOne) {
  if (!callbacks().names().empty()) GTEST_SKIP() << "runs before the others, or in a process of its own";
  Json json = minimal();
  json["stages"][0]["train"]["callbacks"] = {{{"type", "counting"}}};
  EXPECT_EQ(message_of<UsageError>([&] { parse(json); }),
            "x.json: /stages/0/train/callbacks/0/type: found the text \"counting\", but this program has "
            "registered no "
            "callback: one that links the library may (docs/library.md)");
}

TEST(Registration, AnOptimizerIsWhatItsNameMeansInConfigs) {
  config_description();  // declared before: made anew
  register_both();
  const Config config = parse(with_both());
  const TrainConfig& train = *config.stages[0].train;
  EXPECT_EQ(train.optimizer.extra.number("smallest"), 2.0);
  EXPECT_EQ(config_json(config)["stages"][0]["train"]["optimizer"]["smallest"], 2.0);
  EXPECT_EQ(parse(config_json(config)).stages[0].train->optimizer.extra, train.optimizer.extra);

  const auto model = build_model(config);
  const auto optimizer = build_optimizer(train.optimizer, *model);
  Parameter& bias = *model->find("fc1.bias");
  bias.gradient() = Tensor::zeros(bias.shape());
  bias.gradient().f32()[0] = 3;
  bias.gradient().f32()[1] = 1;
  bias.value().fill(0);
  optimizer->step(0.5);
  EXPECT_EQ(bias.value().f32()[0], -0.5f);
  EXPECT_EQ(bias.value().f32()[1], 0.0f) << "below smallest";
}

TEST(Registration, FieldsOfWhatIsRegisteredHaveMessagesHelpAndSchema) {
  register_both();
  const std::string at = "x.json: /stages/0/train/";
  EXPECT_EQ(refusal([](Json& train) { train["optimizer"]["smallest"] = -1; }),
            at + "optimizer/smallest: found -1, expected a number of at least 0");
  EXPECT_EQ(refusal([](Json& train) { train["optimizer"]["type"] = "sgn"; }),
            at + "optimizer/type: found the text \"sgn\", expected one of sgd, adam, adamw, sign, did you "
                 "mean 'sgd'?");
  EXPECT_EQ(refusal([](Json& train) { train["optimizer"]["momentum"] = 0.9; }),
            at + "optimizer/momentum: is for type sgd, and the type is sign");
  EXPECT_EQ(refusal([](Json& train) { train["callbacks"][0]["form"] = 1; }),
            at + "callbacks/0/form: no such field, did you mean 'from'?");
  EXPECT_NE(schema::help_on("smallest", config_description(), 100).find("gradients below it move nothing"),
            std::string::npos);
  EXPECT_NE(config_schema().dump().find("smallest"), std::string::npos);
}

TEST(Registration, CallbacksAreThoseOfTheStage) {
  register_both();
  Json json = with_both();
  json["stages"][0]["train"]["ema"] = 0.9;
  json["stages"][0]["train"]["callbacks"] = {{{"type", "counting"}, {"from", 7}}};
  const Config config = parse(json);
  const auto made = step_callbacks(*config.stages[0].train);
  ASSERT_EQ(made.size(), 2u);
  EXPECT_EQ(made[1]->name(), "counting") << "after the average";
  EXPECT_EQ(config_json(config)["stages"][0]["train"]["callbacks"].dump(),
            R"([{"type":"counting","from":7}])");
}

TEST(Registration, ARuleOfInitialisationMakesTheNetworkOfAConfig) {
  if (!init_rules().find("fan_in"))
    init_rules().add(
        {.name = "fan_in", .help = "up to fan_in", .spread = [](double in, double) { return in; }});
  EXPECT_EQ(message_of<UsageError>([] { init_rules().add({.name = "none", .help = "", .spread = {}}); }),
            "init rule none: has no spread");
  Json json = minimal();
  json["model"] = {{"type", "lenet5"}, {"input", {28, 28, 1}}, {"init", "fan_in"}};
  const auto made = build_model(parse(json));
  json["model"]["init"] = "pytorch";
  const auto plain = build_model(parse(json));
  const auto number = [](Module& model) { return model.find("conv1.weight")->value().f32()[3]; };
  EXPECT_FLOAT_EQ(number(*made), number(*plain) * 25 * 5) << "25 inputs: bounds 25 and 1 / 5";
  json["model"]["init"] = "fanin";
  EXPECT_TRUE(contains(message_of<UsageError>([&] { parse(json); }),
                       "x.json: /model/init: found the text \"fanin\", expected one of pytorch, "));
}

// espalier reads the networks of a program's run, whatever names only the program knows.
TEST(Registration, WhatOnlyAProgramKnowsIsTold) {
  const Json json = {{"model", {{"type", "mlp"}, {"init", "mine"}}}, {"data", {{"type", "mnist"}}}};
  EXPECT_EQ(unregistered_names(json), (std::vector<std::string>{"init rule 'mine'"}));
}

}  // namespace
}  // namespace espalier
