#include "espalier/train/regrow_callback.h"

#include <gtest/gtest.h>

#include <limits>

#include "espalier/nn/models/models.h"
#include "espalier/optim/ema.h"
#include "espalier/prune/pruner.h"
#include "espalier/run/build.h"
#include "espalier/train/callbacks.h"
#include "espalier/train/trainer.h"
#include "run/small.h"
#include "support/bad_input.h"
#include "support/numbers.h"

namespace espalier {
namespace {

/// The methods that drop and grow.
const std::vector<std::string> movers = {"set", "rigl", "sparse_momentum"};

RegrowConfig moves(const std::string& type, double share = 0.3, double every = 4, double end = 30) {
  return {.type = type, .share = share, .anneal = "constant", .end = end, .every = every};
}

/// 40 steps of a small perceptron, half of whose weights are masked at random.
struct MaskedStage {
  explicit MaskedStage(const std::optional<RegrowConfig>& regrow, double sparsity = 0.5) {
    config.optimizer.type = "sgd";
    config.optimizer.lr = 0.05;
    config.optimizer.momentum = 0.9;
    config.optimizer.weight_decay = 1e-3;
    config.optimizer.clip_norm = 1;
    config.ema = 0.9;
    config.regrow = regrow;
    if (sparsity > 0)
      prune(*model, {4, 4, 1},
            {.scoring = {.criterion = criteria().named("random"), .seed = 3},
             .selection = {.scope = scopes().named("layer")},
             .target = {Target::sparsity, sparsity}});
    optimizer = make_optimizer(config.optimizer, model->parameters());
    state.emplace(TrainState{.stage = name,
                             .config = config,
                             .model = *model,
                             .optimizer = *optimizer,
                             .position = position,
                             .epoch_steps = loader.batches(),
                             .total_steps = 40,
                             .random = 11});
  }
  MaskedStage(const MaskedStage&) = delete;
  MaskedStage& operator=(const MaskedStage&) = delete;

  /// With fresh callbacks, as a run that goes on has them.
  void run(const std::vector<Callback*>& more = {}) {
    const auto parts = step_callbacks(config);
    std::vector<Callback*> all;
    for (const auto& part : parts) all.push_back(part.get());
    all.insert(all.end(), more.begin(), more.end());
    Trainer(*state, all).run(loader);
  }
  Parameter& fc1() { return *model->find("fc1.weight"); }
  std::vector<Parameter*> weights() { return learning_weights(*model); }

  Dataset data = columns(95, 1);
  Loader loader{data, {.batch = 10, .seed = 3}};
  std::unique_ptr<Module> model =
      make_model({.type = "mlp", .input = {4, 4, 1}, .classes = 4, .hidden = {8}}, 0);
  TrainConfig config;
  std::unique_ptr<Optimizer> optimizer;
  Position position;
  std::string name = "fit";
  std::optional<TrainState> state;
};

/// Calls f(state) after each step.
template <class F>
struct After : Callback {
  explicit After(F f) : act(std::move(f)) {}
  void after_step(TrainState& s) override { act(s); }
  F act;
};

int64_t kept(const Parameter& p) {
  return p.mask.defined() ? std::ranges::count(p.mask.span<uint8_t>(), 1) : p.value().elements();
}

void expect_same_bits(MaskedStage& actual, MaskedStage& expected, const std::string& what = "") {
  for (Parameter* p : actual.model->parameters()) {
    const Parameter& wanted = *expected.model->find(p->name);
    EXPECT_TRUE(same_bits(p->value(), wanted.value())) << what << " " << p->name;
    ASSERT_EQ(p->mask.defined(), wanted.mask.defined()) << what << " " << p->name;
    if (p->mask.defined()) {
      EXPECT_TRUE(std::ranges::equal(p->mask.span<uint8_t>(), wanted.mask.span<uint8_t>()))
          << what << " " << p->name;
    }
    ASSERT_EQ(p->state.size(), wanted.state.size()) << what << " " << p->name;
    for (const auto& [name, tensor] : p->state)
      EXPECT_TRUE(same_bits(tensor, wanted.state_of(name))) << what << " " << p->name << ", " << name;
  }
}

// --- What holds in each step ---

TEST(RegrowCallback, WhatIsMaskedIsZeroWithItsStateAndCountsStay) {
  for (const std::string& method : movers) {
    SCOPED_TRACE(method);
    MaskedStage f(moves(method));
    std::vector<int64_t> counts;
    for (const Parameter* p : f.weights()) counts.push_back(kept(*p));
    int moved = 0;
    After check([&](TrainState& s) {
      int64_t all = 0, all_before = 0;
      for (size_t l = 0; l < counts.size(); ++l) {
        const Parameter& p = *f.weights()[l];
        all += kept(p);
        all_before += counts[l];
        if (method != "sparse_momentum") {
          ASSERT_EQ(kept(p), counts[l]) << p.name << " after step " << s.position.step;
        }
        for (int64_t i = 0; i < p.value().elements(); ++i) {
          if (p.mask.data<uint8_t>()[i]) continue;
          ASSERT_EQ(p.value().f32()[i], 0) << p.name;
          for (const char* state : {"slot0", "average"}) ASSERT_EQ(p.state_of(state).f32()[i], 0) << state;
        }
      }
      ASSERT_EQ(all, all_before);
      const bool acts = (s.position.step - 1) % 4 == 0 && s.position.step <= 31;
      ASSERT_EQ(s.regrown.has_value(), acts) << s.position.step;
      if (acts) moved += s.regrown->moved.total().grown > 0;
    });
    f.run({&check});
    EXPECT_EQ(moved, 8);
    for (const Parameter* p : f.weights()) EXPECT_EQ(p->state.size(), 1u) << "only the momentum is left";
  }
}

TEST(RegrowCallback, WhatGrowsBeginsAtZeroAndLearns) {
  for (const std::string& method : movers) {
    SCOPED_TRACE(method);
    MaskedStage f(moves(method));
    Tensor before = f.fc1().mask.clone();
    std::vector<int64_t> grown;
    bool learned = false;
    After check([&](TrainState& s) {
      const Parameter& p = f.fc1();
      for (const int64_t i : grown) learned = learned || p.value().f32()[i] != 0;
      grown.clear();
      if (!s.regrown) return;
      for (int64_t i = 0; i < p.value().elements(); ++i)
        if (p.mask.data<uint8_t>()[i] && !before.data<uint8_t>()[i]) {
          grown.push_back(i);
          ASSERT_EQ(p.value().f32()[i], 0);
          for (const char* state : {"slot0", "average"}) ASSERT_EQ(p.state_of(state).f32()[i], 0) << state;
        }
      before = p.mask.clone();
    });
    f.run({&check});
    EXPECT_TRUE(learned);
  }
}

TEST(RegrowCallback, RiglsMovesTakeThePlaceOfUpdatesAndSetsDoNot) {
  for (const std::string& method : movers) {
    MaskedStage f(moves(method));
    struct Updates : Callback {
      void after_update(TrainState&) override { ++count; }
      int count = 0;
    } updates;
    f.run({&updates});
    const int64_t expected = method == "rigl" ? 40 - 8 : 40;
    EXPECT_EQ(f.optimizer->steps(), expected) << method;
    EXPECT_EQ(updates.count, expected) << method;
  }
}

TEST(RegrowCallback, InAStepOfRiglWhatIsKeptStaysAsItIs) {
  MaskedStage f(moves("rigl", 0.3, 1, 0));
  f.state->total_steps = 1;
  const Tensor weights = f.fc1().value().clone(), mask = f.fc1().mask.clone();
  const Tensor bias = f.model->find("fc1.bias")->value().clone();
  After none([](TrainState&) {});
  f.config.ema = 0;
  f.run({&none});
  for (int64_t i = 0; i < weights.elements(); ++i)
    if (const float now = f.fc1().value().f32()[i]; now != 0) {
      EXPECT_EQ(now, weights.f32()[i]);
    }
  EXPECT_TRUE(same_bits(f.model->find("fc1.bias")->value(), bias));
  EXPECT_FALSE(std::ranges::equal(f.fc1().mask.span<uint8_t>(), mask.span<uint8_t>()));
}

TEST(RegrowCallback, AShareOfZeroIsTrainingWithoutIt) {
  for (const std::string& method : movers) {
    MaskedStage with(moves(method, 0)), without({});
    with.run();
    without.run();
    expect_same_bits(with, without, method);
    EXPECT_EQ(with.optimizer->steps(), 40);
  }
}

TEST(RegrowCallback, WithoutAMaskNothingMovesAndNoUpdateIsLeftOut) {
  for (const std::string& method : movers) {
    MaskedStage with(moves(method), 0), without({}, 0);
    with.run();
    without.run();
    expect_same_bits(with, without, method);
  }
}

TEST(RegrowCallback, AFrozenLayerKeepsItsMask) {
  MaskedStage f(moves("set", 0.3, 4, 9));
  const Tensor before = f.fc1().mask.clone();
  f.fc1().variable.set_requires_gradient(false);
  clear_optimizer_state(f.model->parameters());
  f.optimizer = make_optimizer(f.config.optimizer, f.model->parameters());
  TrainState state{.stage = f.name,
                   .config = f.config,
                   .model = *f.model,
                   .optimizer = *f.optimizer,
                   .position = f.position,
                   .epoch_steps = f.loader.batches(),
                   .total_steps = 10};
  const auto parts = step_callbacks(f.config);
  std::vector<Callback*> all;
  for (const auto& part : parts) all.push_back(part.get());
  Trainer(state, all).run(f.loader);
  EXPECT_TRUE(std::ranges::equal(f.fc1().mask.span<uint8_t>(), before.span<uint8_t>()));
}

TEST(RegrowCallback, DrawsOtherNumbersInEachRunStageAndStep) {
  const auto mask_after = [](uint64_t seed, int64_t stage, int64_t begin) {
    RegrowConfig once = moves("set", 0.5, 100);
    once.begin = static_cast<double>(begin);
    MaskedStage f(once);
    f.state->random = seed;
    f.position.stage = stage;
    f.run();
    const auto mask = f.fc1().mask.span<uint8_t>();
    return std::vector<uint8_t>(mask.begin(), mask.end());
  };
  EXPECT_EQ(mask_after(1, 0, 5), mask_after(1, 0, 5));
  EXPECT_NE(mask_after(1, 0, 5), mask_after(2, 0, 5));
  EXPECT_NE(mask_after(1, 0, 5), mask_after(1, 1, 5));
  EXPECT_NE(mask_after(1, 0, 5), mask_after(1, 0, 6));
}

TEST(RegrowCallback, GradientsOfMaskedWeightsAreThoseOfTheUnmaskedNetwork) {
  // What growth looks at: the loss's own gradient, which no penalty, decay or mask has changed where a weight
  // is 0.
  MaskedStage f(moves("rigl"));
  Batch batch;
  f.loader.next(batch);
  const auto loss = make_loss({});
  loss->train(f.model->forward(Variable(batch.images)), batch).loss.backward();
  const Tensor expected = f.fc1().gradient().clone();
  f.fc1().variable.clear_gradient();
  f.fc1().mask = Tensor();  // the same weights, which no mask holds
  loss->train(f.model->forward(Variable(batch.images)), batch).loss.backward();
  EXPECT_TRUE(same_bits(f.fc1().gradient(), expected));
  int64_t nonzeros = 0;
  for (int64_t i = 0; i < expected.elements(); ++i)
    nonzeros += f.fc1().value().f32()[i] == 0 && expected.f32()[i] != 0;
  EXPECT_GT(nonzeros, 20) << "is dense";
  RegularizeCallback pull(make_penalty(*f.model, {4, 4, 1}, {.type = "l1", .weight = 1}));
  pull.after_backward(*f.state);
  for (int64_t i = 0; i < expected.elements(); ++i)
    if (f.fc1().value().f32()[i] == 0) {
      EXPECT_EQ(f.fc1().gradient().f32()[i], expected.f32()[i]);
    }
}

TEST(RegrowCallback, KeepsTheGradientThatThePrunerAfterTheStepReplaces) {
  // A criterion that looks at data clears gradients after the step's update: rigl looks at the step's own.
  const auto mask_of = [](bool clears) {
    MaskedStage f(moves("rigl", 0.3, 4, 8));
    f.state->total_steps = 9;
    struct Clears : Callback {
      void after_step(TrainState& s) override { s.optimizer.clear_gradients(); }
    } clear;
    const auto parts = step_callbacks(f.config);
    std::vector<Callback*> all;
    if (clears) all.push_back(&clear);
    for (const auto& part : parts) all.push_back(part.get());
    Trainer(*f.state, all).run(f.loader);
    const auto mask = f.fc1().mask.span<uint8_t>();
    return std::vector<uint8_t>(mask.begin(), mask.end());
  };
  EXPECT_EQ(mask_of(true), mask_of(false));
}

// --- Going on ---

TEST(RegrowCallback, GoesOnToTheSameBitsWhereverItWasStopped) {
  for (const std::string& method : regrowths().names()) {
    RegrowConfig config = moves(method);
    if (method == "straight_through") config.every = 3;
    MaskedStage whole(config);
    whole.run();
    for (const int64_t at : {1, 4, 5, 6, 12, 13, 33}) {  // masks move in steps 1, 5, 9, 13, ... from 1
      MaskedStage parted(config);
      struct Stop : Callback {
        explicit Stop(int64_t step) : step(step) {}
        void after_step(TrainState& s) override {
          if (s.position.step == step) throw 0;
        }
        int64_t step;
      } stop(at);
      EXPECT_THROW(parted.run({&stop}), int);
      parted.run();
      expect_same_bits(parted, whole, method + " stopped after step " + std::to_string(at));
    }
  }
}

TEST(RegrowCallback, ACheckpointWithoutItsStateIsRefused) {
  for (const std::string method : {"sparse_momentum", "straight_through", "top_kast"}) {
    MaskedStage f(moves(method));
    f.position.step = f.position.batch = 3;
    f.state->saved = "c.safetensors (step 3)";
    const std::string message = message_of([&] { f.run(); });
    EXPECT_TRUE(message.starts_with("c.safetensors (step 3): holds no unmasked_")) << message;
    EXPECT_TRUE(contains(message, " of fc1.weight, by which this stage"));
  }
}

TEST(RegrowCallback, AWeightThatIsNotFiniteIsToldWithStageAndStep) {
  MaskedStage f(moves("set", 0.3, 1));
  After ruin([&](TrainState& s) {
    if (s.position.step == 2)
      for (int64_t i = 0; i < f.fc1().value().elements(); ++i)
        if (f.fc1().mask.data<uint8_t>()[i])
          f.fc1().value().f32()[i] = std::numeric_limits<float>::infinity();
  });
  const auto parts = step_callbacks(f.config);
  std::vector<Callback*> all{&ruin};
  for (const auto& part : parts) all.push_back(part.get());
  const std::string message = message_of([&] { Trainer(*f.state, all).run(f.loader); });
  EXPECT_TRUE(message.starts_with("stage 'fit', step 2: regrow: fc1.weight: the value of weight "))
      << message;
  EXPECT_TRUE(contains(message, "no checkpoint has been written yet"));
}

// --- Sparse momentum ---

TEST(RegrowCallback, SparseMomentumsAverageIsOfEachStepsGradients) {
  MaskedStage f(moves("sparse_momentum", 0.3, 100, 0));
  f.config.regrow->momentum = 0.75;
  f.state->total_steps = 3;
  Doubles expected(128);
  struct Follow : Callback {
    explicit Follow(Parameter& p, Doubles& average) : p(p), average(average) {}
    void after_backward(TrainState&) override {
      for (size_t i = 0; i < average.size(); ++i)
        average[i] = 0.75 * average[i] + 0.25 * static_cast<double>(p.gradient().f32()[i]);
    }
    void after_step(TrainState& s) override {
      if (s.position.step == 3) {
        EXPECT_TRUE(near(p.state_of("unmasked_gradient"), average, 1e-6));
      }
    }
    Parameter& p;
    Doubles& average;
  } follow(f.fc1(), expected);
  f.run({&follow});
  EXPECT_TRUE(std::ranges::any_of(expected, [](double average) { return average != 0; }));
}

// --- Straight through ---

TEST(StraightThroughCallback, ValuesAreWhatTheMasksLeaveInEachStep) {
  for (const std::string method : {"straight_through", "top_kast"}) {
    SCOPED_TRACE(method);
    RegrowConfig config = moves(method);
    if (method == "top_kast") config.extra = {{"backward_sparsity", 0.25}};
    MaskedStage f(config);
    const int64_t count = kept(f.fc1());
    Tensor mask;
    int changes = 0;
    After check([&](TrainState& s) {
      const Parameter& p = f.fc1();
      const Tensor& all = p.state_of(unmasked_value);
      ASSERT_EQ(kept(p), count);
      for (int64_t i = 0; i < all.elements(); ++i) {
        ASSERT_EQ(p.value().f32()[i], p.mask.data<uint8_t>()[i] ? all.f32()[i] : 0.0f);
        if (!p.mask.data<uint8_t>()[i]) {
          ASSERT_EQ(p.state_of("average").f32()[i], 0);
        }
      }
      if (mask.defined()) changes += !std::ranges::equal(mask.span<uint8_t>(), p.mask.span<uint8_t>());
      mask = p.mask.clone();
      ASSERT_EQ(s.regrown.has_value(), (s.position.step - 1) % 4 == 0 && s.position.step <= 31);
    });
    f.run({&check});
    EXPECT_GT(changes, 0);
    EXPECT_EQ(f.fc1().state.size(), 1u) << "the momentum is left";
    EXPECT_EQ(kept(f.fc1()), count) << "and the mask";
    EXPECT_EQ(f.optimizer->steps(), 40);
    for (int64_t i = 0; i < f.fc1().value().elements(); ++i)
      if (!f.fc1().mask.data<uint8_t>()[i]) {
        EXPECT_EQ(f.fc1().value().f32()[i], 0);
      }
  }
}

TEST(StraightThroughCallback, MovesWhatIsMaskedByTheGradientAtTheMaskedNetwork) {
  MaskedStage f(moves("straight_through", 0.3, 100, 0));
  f.config.optimizer.clip_norm = f.config.ema = 0;
  f.config.optimizer.momentum = f.config.optimizer.weight_decay = 0;
  clear_optimizer_state(f.model->parameters());
  f.optimizer = make_optimizer({.type = "sgd"}, f.model->parameters());
  TrainState state{.stage = f.name,
                   .config = f.config,
                   .model = *f.model,
                   .optimizer = *f.optimizer,
                   .position = f.position,
                   .epoch_steps = f.loader.batches(),
                   .total_steps = 1};
  const Tensor before = f.fc1().value().clone();
  struct Look : Callback {
    explicit Look(Parameter& p) : p(p) {}
    void after_backward(TrainState&) override { gradient = p.gradient().clone(); }
    void after_step(TrainState&) override { unmasked = p.state_of(unmasked_value).clone(); }
    Parameter& p;
    Tensor gradient, unmasked;
  } look(f.fc1());
  const auto parts = step_callbacks(f.config);
  std::vector<Callback*> all;
  for (const auto& part : parts) all.push_back(part.get());
  all.push_back(&look);
  Trainer(state, all).run(f.loader);
  int64_t moved = 0;
  for (int64_t i = 0; i < before.elements(); ++i) {
    EXPECT_FLOAT_EQ(look.unmasked.f32()[i], before.f32()[i] - 0.05f * look.gradient.f32()[i]);
    moved += before.f32()[i] == 0 && look.unmasked.f32()[i] != 0;
  }
  EXPECT_GT(moved, 20);
}

TEST(StraightThroughCallback, TopKastMovesOnlyWhatTrains) {
  MaskedStage f(moves("top_kast", 0.3, 100, 0), 0.75);
  f.config.regrow->extra = {{"backward_sparsity", 0.5}, {"weight_decay", 0.0}};
  f.config.optimizer.weight_decay = 0;
  clear_optimizer_state(f.model->parameters());
  f.optimizer = make_optimizer({.type = "sgd", .momentum = 0.9}, f.model->parameters());
  TrainState state{.stage = f.name,
                   .config = f.config,
                   .model = *f.model,
                   .optimizer = *f.optimizer,
                   .position = f.position,
                   .epoch_steps = f.loader.batches(),
                   .total_steps = 5};
  Tensor first;
  After look([&](TrainState& s) {
    const Parameter& p = f.fc1();
    if (s.position.step == 1) {
      first = p.state_of(unmasked_value).clone();
    } else if (s.position.step == 5) {
      int64_t reached = 0, explored = 0;
      for (int64_t i = 0; i < first.elements(); ++i) {
        const bool moves = first.f32()[i] != p.state_of(unmasked_value).f32()[i];
        if (p.state_of("unmasked_reach").f32()[i] == 0) {
          EXPECT_FALSE(moves) << i;
        } else {
          ++reached;
        }
        explored += moves && !p.mask.data<uint8_t>()[i];
      }
      EXPECT_EQ(reached, 64) << "half of 128";
      EXPECT_GT(explored, 0) << "though they are not in use";
    }
  });
  const auto parts = step_callbacks(f.config);
  std::vector<Callback*> all;
  for (const auto& part : parts) all.push_back(part.get());
  all.push_back(&look);
  Trainer(state, all).run(f.loader);
}

TEST(StraightThroughCallback, ThereIsOneWhereTheMethodKeepsAllWeights) {
  TrainConfig config;
  EXPECT_FALSE(straight_through_callback(config));
  config.regrow = moves("rigl");
  EXPECT_FALSE(straight_through_callback(config));
  config.regrow = moves("top_kast");
  EXPECT_TRUE(straight_through_callback(config));
  config.ema = 0.9;
  config.optimizer.clip_norm = 1;
  const auto all = step_callbacks(config);
  ASSERT_EQ(all.size(), 4u);
  EXPECT_TRUE(dynamic_cast<StraightThroughCallback*>(all[0].get()));
  EXPECT_TRUE(dynamic_cast<AverageCallback*>(all[1].get()));
  EXPECT_TRUE(dynamic_cast<RegrowCallback*>(all[2].get()));
  EXPECT_TRUE(dynamic_cast<ClipCallback*>(all[3].get()));
}

// --- When ---

TEST(RegrowSchedule, OfAConfigIsInStepsEpochsOrShares) {
  const StageLength stage{.epoch_steps = 12, .steps = 50};
  const auto expect = [&](const RegrowConfig& config, int64_t begin, int64_t end, int64_t every) {
    const RegrowSchedule s = regrow_schedule(config, stage);
    EXPECT_EQ(s.begin, begin);
    EXPECT_EQ(s.end, end);
    EXPECT_EQ(s.every, every);
  };
  expect({.type = "rigl"}, 0, 38, 100);  // 37.5 of 50
  expect({.type = "sparse_momentum", .in = "epochs", .begin = 1, .every = 1}, 12, 49, 12);
  expect({.type = "straight_through"}, 0, 49, 1);
  expect({.type = "set", .in = "share", .begin = 0.1, .end = 0.5, .every = 0.1}, 5, 25, 5);
  EXPECT_EQ(message_of<UsageError>([&] { regrow_schedule({.end = 50}, stage); }),
            "train.regrow: acts at step 50, but the stage has steps 0 to 49");
  EXPECT_EQ(message_of<UsageError>([&] { regrow_schedule({.begin = 40}, stage); }),
            "regrow: ends at step 38, before it begins at step 40; 'end' says when it is to");
}

}  // namespace
}  // namespace espalier
