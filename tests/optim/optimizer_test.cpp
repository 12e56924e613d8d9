#include "espalier/optim/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "espalier/optim/clip.h"
#include "espalier/optim/ema.h"
#include "optim/support.h"
#include "support/bad_input.h"

namespace espalier {
namespace {

TEST(Optimizer, StateFollowsTheType) {
  const std::pair<OptimizerOptions, size_t> state[] = {{{.type = "sgd"}, 0},
                                                       {{.type = "sgd", .momentum = 0.9}, 1},
                                                       {{.type = "adam"}, 2},
                                                       {{.type = "adamw"}, 2}};
  for (const auto& [options, count] : state) {
    const auto p = make_parameter({1, 2});
    for (const char* name : {"slot0", "slot1", "slot2"}) p->state[name] = Tensor::full({2}, 5);
    clear_optimizer_state({p.get()});
    EXPECT_TRUE(p->state.empty());
    const auto optimizer = make_optimizer(options, {p.get()});
    ASSERT_EQ(p->state.size(), count) << options.type;
    for (const auto& [name, tensor] : p->state) EXPECT_TRUE(near(tensor, Doubles{0, 0}, 0)) << name;
  }
}

TEST(Optimizer, KeepsStateOfItsNamesAndShapes) {
  const auto p = make_parameter({1, 2});
  p->state = {{"slot0", Tensor::full({2}, 5)},
              {"slot1", Tensor::full({3}, 6)},  // of another shape
              {"slot2", Tensor::full({2}, 7)},  // of another optimizer
              {"average", Tensor::full({2}, 8)},
              {"score", Tensor::full({2}, 9)}};
  make_optimizer({.type = "adam"}, {p.get()});
  EXPECT_EQ(p->state.size(), 4u);
  EXPECT_TRUE(near(p->state_of("slot0"), Doubles{5, 5}, 0));
  EXPECT_TRUE(near(p->state_of("slot1"), Doubles{0, 0}, 0));
  EXPECT_TRUE(near(p->state_of("average"), Doubles{8, 8}, 0));
  EXPECT_TRUE(near(p->state_of("score"), Doubles{9, 9}, 0));
}

TEST(Optimizer, GoesOnWithStateOrBeginsWithoutIt) {
  const auto p = make_parameter({1, 2});
  p->name = "fc1.weight";
  const OptimizerOptions adam{.type = "adam"};
  EXPECT_EQ(message_of([&] { make_optimizer(adam, {p.get()})->resume(3); }),
            "holds 0 tensors of optimizer state of fc1.weight, expected 2");
  make_optimizer(adam, {p.get()})->resume(3);
  EXPECT_EQ(message_of([&] { make_optimizer({}, {p.get()})->resume(3); }),
            "holds 2 tensors of optimizer state of fc1.weight, expected 0");
  make_optimizer(adam, {p.get()});
  set_gradient(*p, {1, 1});
  EXPECT_EQ(
      message_of([&] { make_optimizer(adam, {p.get()})->step(0.1); }),
      "optimizer: the parameters hold state of an optimizer before: clear_optimizer_state() begins anew, "
      "resume() goes on");
  EXPECT_EQ(value_of(*p), (Floats{1, 2}));
  clear_optimizer_state({p.get()});
  make_optimizer(adam, {p.get()})->step(0.1);
  EXPECT_NE(value_of(*p), (Floats{1, 2}));
}

TEST(Optimizer, WorksWhereItsParametersAre) {
  const auto here = make_parameter({1}), there = make_parameter({1});
  there->value() = Tensor::zeros({1}, DType::f32, Device::meta);
  const auto optimizer = make_optimizer({.type = "adam"}, {here.get(), there.get()});
  for (const auto& [name, tensor] : here->state) EXPECT_EQ(tensor.device(), Device::cpu);
  for (const auto& [name, tensor] : there->state) EXPECT_EQ(tensor.device(), Device::meta);
  EXPECT_THROW(optimizer->step(0.1), Error) << "one pass over both";
  EXPECT_THROW(gradient_norm({here.get(), there.get()}), Error);
}

TEST(Optimizer, LeavesBuffersAndWhatHasNoGradientAlone) {
  const auto learned = make_parameter({1}), unused = make_parameter({2}),
             buffer = make_parameter({3}, Role::buffer);
  const auto optimizer =
      make_optimizer({.type = "adam", .weight_decay = 0.1}, {learned.get(), unused.get(), buffer.get()});
  EXPECT_EQ(optimizer->parameters().size(), 2u);
  set_gradient(*learned, {1});
  set_gradient(*buffer, {1});
  optimizer->step(0.1);
  EXPECT_NE(value_of(*learned), Floats{1});
  EXPECT_EQ(value_of(*unused), Floats{2});
  EXPECT_EQ(value_of(*buffer), Floats{3});
}

TEST(Optimizer, ClearsGradients) {
  const auto p = make_parameter({1});
  set_gradient(*p, {1});
  make_optimizer({}, {p.get()})->clear_gradients();
  EXPECT_FALSE(p->gradient().defined());
}

TEST(Optimizer, GradientScaleIsThatOfTheGradient) {
  for (const std::string& type : optimizers().names()) {
    const auto scaled = make_parameter({1, -2}), plain = make_parameter({1, -2});
    const OptimizerOptions options{.type = type, .weight_decay = 0.1, .eps = 0.1};
    const auto a = make_optimizer(options, {scaled.get()}), b = make_optimizer(options, {plain.get()});
    set_gradient(*scaled, {0.5, 3});
    set_gradient(*plain, {0.125, 0.75});
    a->step(0.1, Tensor::full({}, 0.25f));
    b->step(0.1);
    EXPECT_EQ(value_of(*scaled), value_of(*plain)) << type;
  }
}

TEST(Optimizer, MovesTheUnmaskedValueWhereThereIsOne) {
  for (const std::string& type : optimizers().names()) {
    const auto plain = make_parameter({1, -2, 3}), both = make_parameter({1, -2, 3});
    both->state[unmasked_value] = both->value().clone();
    both->set_mask(Tensor::from<uint8_t>({3}, std::vector<uint8_t>{1, 0, 1}));
    const OptimizerOptions options{.type = type, .weight_decay = 0.1};
    const auto a = make_optimizer(options, {plain.get()}), b = make_optimizer(options, {both.get()});
    for (int step = 0; step < 2; ++step) {
      set_gradient(*plain, {0.5, 3, -1});
      set_gradient(*both, {0.5, 3, -1});
      EXPECT_EQ(gradient_norm({both.get()}), gradient_norm({plain.get()})) << "all of them count";
      a->step(0.1);
      b->step(0.1);
    }
    EXPECT_TRUE(same_bits(both->state_of(unmasked_value), plain->value())) << type;
    EXPECT_EQ(value_of(*both), (Floats{1, 0, 3})) << "is for others to follow";
  }
}

/// Forgets masks.
class Forgetful : public Optimizer {
 public:
  Forgetful(std::vector<Parameter*> parameters, size_t state) : Optimizer(std::move(parameters), state, 0) {}

 protected:
  void update(Device, const std::vector<UpdateSpan>& spans, const GroupStep& step) override {
    for (const UpdateSpan& span : spans)
      for (int64_t i = 0; i < span.n; ++i) span.w[i] -= step.lr * span.g[i];
  }
};

TEST(Optimizer, OneThatForgetsMasksIsFoundOutInItsFirstStep) {
  const auto p = make_parameter({1, 0});
  p->set_mask(Tensor::from({2}, std::vector<uint8_t>{1, 0}));
  set_gradient(*p, {0.5, 0.5});
  Forgetful optimizer({p.get()}, 0);
  EXPECT_NE(
      message_of<Error>([&] { optimizer.step(1); }).find("weight 1 is -0.5, and its mask holds it at 0"),
      std::string::npos);
  EXPECT_NE(message_of<Error>([&] { Forgetful({p.get()}, 3); }).find("expected at most 2"),
            std::string::npos);
}

TEST(Optimizer, AMaskedWeightStaysZeroWhateverItsGradient) {
  for (const OptimizerOptions& options :
       {OptimizerOptions{.type = "sgd"},
        {.type = "sgd", .momentum = 0.9, .nesterov = true, .weight_decay = 0.1},
        {.type = "adam", .weight_decay = 0.1},
        {.type = "adamw", .weight_decay = 0.1}}) {
    const auto p = make_parameter({1, 2, 3});
    const auto optimizer = make_optimizer(options, {p.get()});
    set_gradient(*p, {5, -5, 5});
    optimizer->step(0.1);  // momentum is there before the mask is
    p->set_mask(Tensor::from({3}, std::vector<uint8_t>{1, 0, 1}));
    for (int i = 0; i < 3; ++i) {
      optimizer->step(0.1);
      EXPECT_EQ(value_of(*p)[1], 0.0f) << options.type;
      EXPECT_NE(value_of(*p)[0], 0.0f);
    }
    p->remove_mask();
    optimizer->step(0.1);
    EXPECT_NE(value_of(*p)[1], 0.0f) << options.type << ": grows back";
  }
}

TEST(Optimizer, GoesOnFromItsStepsAndState) {
  for (const std::string& type : optimizers().names()) {
    const OptimizerOptions options{.type = type, .momentum = 0.9, .weight_decay = 0.01};
    const auto p = make_parameter({1, -2}), q = make_parameter({1, -2});
    const auto whole = make_optimizer(options, {p.get()});
    auto part = make_optimizer(options, {q.get()});
    for (int step = 0; step < 6; ++step) {
      if (step == 3) {  // as a resumed run does
        part = make_optimizer(options, {q.get()});
        part->resume(3);
      }
      for (Parameter* each : {p.get(), q.get()}) set_gradient(*each, {0.1f * static_cast<float>(step), -1});
      whole->step(0.1);
      part->step(0.1);
    }
    EXPECT_EQ(value_of(*p), value_of(*q)) << type;
    EXPECT_EQ(part->steps(), 6);
  }
}

TEST(Optimizer, ThatIsRestartedStepsAsAFreshOne) {
  for (const char* type : {"sgd", "adam"}) {
    const auto used = make_parameter({1, 2}), fresh = make_parameter({1, 2});
    const OptimizerOptions options{.type = type, .momentum = 0.9};
    const auto optimizer = make_optimizer(options, {used.get()});
    for (int step = 0; step < 3; ++step) {
      set_gradient(*used, {1, -2});
      optimizer->step(0.1);
    }
    optimizer->restart();
    EXPECT_EQ(optimizer->steps(), 0);
    fresh->value() = used->value().clone();
    const auto other = make_optimizer(options, {fresh.get()});
    for (const auto& [one, by] : {std::pair{used.get(), optimizer.get()}, {fresh.get(), other.get()}}) {
      set_gradient(*one, {3, 5});
      by->step(0.1);
    }
    EXPECT_TRUE(same_bits(used->value(), fresh->value())) << type;
  }
}

TEST(Optimizer, UnknownType) {
  EXPECT_EQ(message_of([] { make_optimizer({.type = "adm"}, {}); }),
            "optimizer: no type 'adm', did you mean 'adam'?");
  EXPECT_THROW(make_optimizer({.type = "lion"}, {}), UsageError);
}

TEST(Optimizer, RatesOfSomeAreAFactorOfTheRate) {
  for (const std::string& type : optimizers().names()) {
    const OptimizerOptions options{.type = type, .momentum = type[0] == 's' ? 0.9 : 0.0, .weight_decay = 0.1};
    std::vector<std::unique_ptr<Parameter>> ours, theirs;
    for (int i = 0; i < 3; ++i) {
      ours.push_back(make_parameter({1, -2, 3}));
      theirs.push_back(make_parameter({1, -2, 3}));
    }
    const auto one = make_optimizer(options, {ours[0].get(), ours[1].get(), ours[2].get()});
    one->scale_rate({ours[0].get(), ours[1].get()}, 100);
    one->scale_rate({ours[1].get()}, 4);  // the last counts
    EXPECT_EQ(one->factor_of(*ours[0]), 100);
    EXPECT_EQ(one->factor_of(*ours[2]), 1);
    EXPECT_EQ(one->factor_of(*theirs[0]), 0) << "not one of its own";
    const double rates[] = {100, 4, 1};
    std::vector<std::unique_ptr<Optimizer>> each;
    for (const auto& parameter : theirs) each.push_back(make_optimizer(options, {parameter.get()}));
    for (const double lr : {0.125, 0.25})
      for (size_t i = 0; i < 3; ++i) {
        set_gradient(*ours[i], {0.5, 0.25, -1});
        set_gradient(*theirs[i], {0.5, 0.25, -1});
        each[i]->step(lr * rates[i]);
        if (i == 2) one->step(lr);
      }
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(value_of(*ours[i]), value_of(*theirs[i])) << type << " " << i;
  }
}

/// Two groups as torch.optim has them, at rates 0.1 and 0.02 with decays 0.5 and 0, by hand.
TEST(Optimizer, GroupsHaveRatesAndDecaysOfTheirOwn) {
  for (const std::string& type : optimizers().names()) {
    const OptimizerOptions options{
        .type = type, .lr = 0.1, .momentum = type == "sgd" ? 0.9 : 0.0, .weight_decay = 0.5};
    const auto plain = make_parameter({1}), free = make_parameter({1});
    const auto optimizer = make_optimizer(options, {plain.get(), free.get()});
    optimizer->set_decay({free.get()}, 0);
    optimizer->scale_rate({free.get()}, 0.2);
    const double rates[] = {0.1, 0.02}, decays[] = {0.5, 0}, gradients[] = {0.25, -0.5, 2};
    double w[] = {1, 1}, m[] = {0, 0}, v[] = {0, 0};
    for (int t = 1; t <= 3; ++t) {
      for (int i = 0; i < 2; ++i) {
        double g = gradients[t - 1];
        if (type == "adamw")
          w[i] -= rates[i] * decays[i] * w[i];
        else
          g += decays[i] * w[i];
        if (type == "sgd") {
          m[i] = t == 1 ? g : 0.9 * m[i] + g;
          w[i] -= rates[i] * m[i];
        } else {
          m[i] = 0.9 * m[i] + 0.1 * g;
          v[i] = 0.999 * v[i] + 0.001 * g * g;
          w[i] -= rates[i] * (m[i] / (1 - std::pow(0.9, t))) /
                  (std::sqrt(v[i] / (1 - std::pow(0.999, t))) + 1e-8);
        }
      }
      for (Parameter* each : {plain.get(), free.get()})
        set_gradient(*each, {static_cast<float>(gradients[t - 1])});
      optimizer->step(0.1);
      EXPECT_NEAR(value_of(*plain)[0], w[0], 1e-6) << type << ", step " << t;
      EXPECT_NEAR(value_of(*free)[0], w[1], 1e-6) << type << ", step " << t;
    }
  }
}

TEST(Optimizer, LeavesAloneWhatIsFrozen) {
  const auto learned = make_parameter({1}), frozen = make_parameter({2});
  frozen->state["slot0"] = Tensor::full({1}, 5);  // another optimizer's
  frozen->variable.set_requires_gradient(false);
  const auto optimizer =
      make_optimizer({.type = "sgd", .momentum = 0.9, .weight_decay = 0.1}, {learned.get(), frozen.get()});
  EXPECT_EQ(optimizer->parameters(), (std::vector<Parameter*>{learned.get()}));
  EXPECT_TRUE(frozen->state.empty());
  start_average({learned.get(), frozen.get()});
  EXPECT_TRUE(learned->state_of("average").defined() && !frozen->state_of("average").defined());
}

}  // namespace
}  // namespace espalier
