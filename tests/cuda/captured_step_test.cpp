// Training steps replayed from a CUDA graph against the same steps launched: the same bits.
#include "espalier/train/captured_step.h"

#include <algorithm>
#include <functional>
#include <iterator>

#include "cuda/on_cuda.h"
#include "espalier/channels/surgery.h"
#include "espalier/core/random.h"
#include "espalier/graph/ops.h"
#include "espalier/nn/models/models.h"
#include "espalier/nn/network.h"
#include "espalier/prune/mask.h"
#include "espalier/run/build.h"
#include "espalier/train/callbacks.h"
#include "espalier/train/distilled_loss.h"
#include "espalier/train/metrics.h"
#include "espalier/train/regrow_callback.h"
#include "espalier/train/trainer.h"
#include "run/small.h"
#include "support/bad_input.h"
#include "support/numbers.h"
#include "support/temporary_folder.h"
#ifdef ESPALIER_CUDA_EMULATED
#include "espalier/cuda/runtime.h"
#include "espalier/cuda_emulation/emulation.h"
#include "espalier/cuda_emulation/problems.h"
#include "espalier/cuda_emulation/streams.h"
#endif

namespace espalier::captured_step_test {
namespace {

using CapturedStepOnCuda = OnCuda;

/// `n` images of noise.
Dataset noise(const Shape& image, int32_t classes, int64_t n) {
  Dataset data{.name = "noise",
               .images = Tensor::empty({n, image[0], image[1], image[2]}, DType::u8),
               .labels = {},
               .class_names = {}};
  uint64_t i = 0;
  for (uint8_t& pixel : data.images.span<uint8_t>()) pixel = static_cast<uint8_t>(random_below(7, i++, 256));
  for (int64_t k = 0; k < n; ++k) data.labels.push_back(static_cast<int32_t>(random_below(8, i++, classes)));
  for (int32_t c = 0; c < classes; ++c) data.class_names.push_back(std::to_string(c));
  return data;
}

/// A network that is trained on the card, with distillation by another one of its form.
struct Training {
  Training(const ModelOptions& options, const TrainConfig& how, int64_t images, int64_t batch,
           std::vector<Augmentation> augment = {})
      : Training(make_model(options, 5), options, how, images, batch, std::move(augment)) {}
  Training(std::unique_ptr<Module> network, const ModelOptions& options, const TrainConfig& how,
           int64_t images, int64_t batch, std::vector<Augmentation> augment = {})
      : input(options.input),
        data(noise(input, static_cast<int32_t>(options.classes), images)),
        loader(data, {.batch = batch, .seed = 3, .augment = std::move(augment), .device = Device::cuda}),
        config(how),
        model(std::move(network)) {
    model->to(Device::cuda);
    if (config.distill) {
      auto another = make_model(options, 9);
      another->to(Device::cuda);
      teacher = std::make_unique<Teacher>(std::move(another), batch);
      maps =
          std::make_unique<FeatureMaps>(config.distill->features, *model, teacher->network(), input, true, 3);
      distilled = std::make_unique<DistilledLoss>(default_loss(), *teacher, *config.distill, maps.get());
    }
    auto all = model->parameters();
    if (maps) std::ranges::copy(maps->parameters(), std::back_inserter(all));
    optimizer = make_optimizer(config.optimizer, all);
    for (const auto& part : parts) part->add_state(optimizer->parameters());
    state.emplace(TrainState{.stage = name,
                             .config = config,
                             .model = *model,
                             .optimizer = *optimizer,
                             .position = position,
                             .epoch_steps = epoch_steps(config, loader.batches()),
                             .total_steps = 1000,
                             .loss_function = distilled ? *distilled : default_loss()});
  }
  Training(const Training&) = delete;
  Training& operator=(const Training&) = delete;

  /// What belongs to the config's steps, and `more`.
  std::vector<Callback*> callbacks(const std::vector<Callback*>& more = {}) const {
    std::vector<Callback*> all;
    for (const auto& part : parts) all.push_back(part.get());
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  /// `epochs` of steps as Trainer::run takes them, with `between` called after each with its number. What
  /// one trainer does is captured; where each step has a trainer of its own, none comes to it.
  std::vector<double> train(
      bool captured, int64_t epochs, const std::vector<Callback*>& more = {},
      const std::function<void(int64_t)>& between = [](int64_t) {}) {
    std::vector<double> losses;
    const std::vector<Callback*> callbacks = this->callbacks(more);
    auto trainer = std::make_unique<Trainer>(*state, callbacks);
    for (int64_t epoch = 0; epoch < epochs; ++epoch) {
      loader.start_epoch(epoch);
      for (;;) {
        if (!captured) {
          trainer.reset();
          trainer = std::make_unique<Trainer>(*state, callbacks);
        }
        const int64_t before = trainer->replayed();
        state->lr = learning_rate(config.schedule, config.optimizer.lr, position.step, 30, 5);
        if (const auto momentum = scheduled_momentum(config.schedule, position.step, 30))
          optimizer->set_momentum(*momentum);
        if (!trainer->step(loader)) break;
        replayed += trainer->replayed() - before;
        state->settle();
        losses.push_back(state->loss);
        between(++position.step);
      }
    }
    return losses;
  }

  Shape input;
  Dataset data;
  Loader loader;
  TrainConfig config;
  const std::vector<std::unique_ptr<Callback>> parts = step_callbacks(config);
  std::unique_ptr<Module> model;
  std::unique_ptr<Teacher> teacher;
  std::unique_ptr<FeatureMaps> maps;  // of features, if the config has some
  std::unique_ptr<DistilledLoss> distilled;
  std::unique_ptr<Optimizer> optimizer;
  Position position;
  std::string name = "fit";
  std::optional<TrainState> state;
  int64_t replayed = 0;  // steps
};

/// All that training changes.
void expect_same(Training& actual, Training& expected) {
  const auto same = [](const Tensor& a, const Tensor& b) {
    return same_bits(a.to(Device::cpu), b.to(Device::cpu));
  };
  if (actual.maps) {
    for (Parameter* parameter : actual.maps->parameters())
      EXPECT_TRUE(same(parameter->value(), expected.maps->find(parameter->name)->value())) << parameter->name;
  }
  for (Parameter* parameter : actual.model->parameters()) {
    const Parameter& wanted = *expected.model->find(parameter->name);
    if (parameter->is_count()) {
      EXPECT_EQ(*parameter->value().data<int64_t>(), *wanted.value().data<int64_t>()) << parameter->name;
      continue;
    }
    EXPECT_TRUE(same(parameter->value(), wanted.value())) << parameter->name;
    ASSERT_EQ(parameter->state.size(), wanted.state.size());
    for (const auto& [name, tensor] : parameter->state)
      EXPECT_TRUE(same(tensor, wanted.state_of(name))) << parameter->name << ", " << name;
  }
  EXPECT_EQ(actual.position.loss_sum, expected.position.loss_sum);
  EXPECT_EQ(actual.position.correct, expected.position.correct);
  EXPECT_EQ(actual.position.images, expected.position.images);
  EXPECT_EQ(actual.optimizer->steps(), expected.optimizer->steps());
}

/// Runs both, and holds the one to the other; `replayed` says how many of its steps were.
void expect_replayed_as_launched(const std::function<Training()>& make, int64_t epochs, int64_t replayed,
                                 const std::function<std::vector<Callback*>(Training&)>& callbacks = {},
                                 const std::function<void(Training&, int64_t)>& between = {}) {
  Training launched = make(), captured = make();
  const auto train = [&](Training& t, bool replays) {
    return t.train(replays, epochs, callbacks ? callbacks(t) : std::vector<Callback*>(), [&](int64_t step) {
      if (between) between(t, step);
    });
  };
  const std::vector<double> expected = train(launched, false);
  EXPECT_EQ(launched.replayed, 0);
  EXPECT_EQ(train(captured, true), expected);
  EXPECT_EQ(captured.replayed, replayed);
  expect_same(captured, launched);
}

/// Of all channels that may go every third does.
void cut_thirds(Training& t) {
  const auto groups = channel_graph(*t.model, Network(*t.model, t.input).graph).groups;
  std::vector<std::vector<uint8_t>> kept;
  for (const ChannelGroup& group : groups) {
    std::vector<uint8_t>& stays = kept.emplace_back(static_cast<size_t>(group.channels), uint8_t{1});
    for (size_t c = 1; group.fixed.empty() && c < stays.size(); c += 3) stays[c] = 0;
  }
  cut(*t.model, cuts_of(groups, kept));
}

/// Drops about every other number of all weights.
void mask_half(Training& t, uint64_t key) {
  for (Parameter* parameter : t.model->parameters())
    if (parameter->role == Role::weight)
      parameter->set_mask(Tensor::from(parameter->shape(), random_mask(parameter->value().elements(), key)));
}

const ModelOptions mlp{.type = "mlp", .input = {4, 4, 1}, .classes = 4, .hidden = {8}},
    vgg{.type = "vgg11", .input = {32, 32, 3}, .width = 0.0625},
    resnet{.type = "resnet20", .input = {32, 32, 3}, .width = 0.25};

TrainConfig with_adam() {
  TrainConfig config;
  config.optimizer.type = "adam";
  config.optimizer.lr = 0.01;
  config.optimizer.clip_norm = 0.5;
  config.schedule.type = "cosine";
  config.schedule.warmup_steps = 4;
  config.ema = 0.9;
  return config;
}
TrainConfig with_momentum() {
  TrainConfig config;
  config.optimizer.type = "sgd";
  config.optimizer.lr = 0.01;
  config.optimizer.momentum = 0.9;
  config.optimizer.weight_decay = 5e-4;
  config.schedule.type = "onecycle";  // which moves the momentum, too
  return config;
}

// 4 epochs of two whole batches and a short one; of the 8 whole steps the first two are launched.
TEST_F(CapturedStepOnCuda, AnMlpWithAdamClippingAnAverageAndAScheduleOverShortLastBatches) {
  expect_replayed_as_launched([] { return Training(mlp, with_adam(), 25, 10); }, 4, 6);
}

TEST_F(CapturedStepOnCuda, AVggWithMomentumUnderMasksThatChange) {
  expect_replayed_as_launched(
      [] {
        return Training(vgg, with_momentum(), 20, 4, {{.type = "flip"}, {.type = "crop", .pad = 4}});
      },
      2, 8, {},
      [](Training& t, int64_t step) {
        if (step == 1 || step == 6) mask_half(t, static_cast<uint64_t>(step));
        if (step != 9) return;
        for (Parameter* parameter : t.model->parameters())
          if (parameter->is_count()) {
            EXPECT_EQ(*parameter->value().data<int64_t>(), 9) << parameter->name;
          }
      });
}

TEST_F(CapturedStepOnCuda, AResNetWithPenaltiesThatGrow) {
  for (const char* penalty : {"group_norm", "greg1"}) {
    std::vector<std::unique_ptr<RegularizeCallback>> kept;
    expect_replayed_as_launched(
        [] { return Training(resnet, with_momentum(), 12, 2); }, 1, 4,
        [&](Training& t) {
          kept.push_back(std::make_unique<RegularizeCallback>(
              make_penalty(*t.model, t.input, {.type = penalty, .weight = 0.01, .growth = 0.1, .every = 1})));
          return std::vector<Callback*>{kept.back().get()};
        });
  }
}

TEST_F(CapturedStepOnCuda, AResNetInBf16) {
  const WithPrecision bf16(cuda::Precision::bf16);
  expect_replayed_as_launched([] { return Training(resnet, with_momentum(), 12, 2); }, 1, 4);
}

TrainConfig with_a_teacher() {
  TrainConfig config = with_momentum();
  config.distill = DistillConfig{.temperature = 3, .weight = 0.7};
  return config;
}

// The teacher's pass is in the graph, too.
TEST_F(CapturedStepOnCuda, AResNetThatLearnsFromATeacher) {
  expect_replayed_as_launched([] { return Training(resnet, with_a_teacher(), 13, 2); }, 2, 12 - 2);
  const WithPrecision bf16(cuda::Precision::bf16);
  expect_replayed_as_launched([] { return Training(resnet, with_a_teacher(), 12, 2); }, 1, 4);
}

// So are the maps, whose gradients it leaves beside the network's.
TEST_F(CapturedStepOnCuda, AResNetThatLearnsFeatures) {
  TrainConfig config = with_a_teacher();
  config.distill->features = {{.student = "layer1"}, {.student = "layer3", .weight = 0.5}};
  expect_replayed_as_launched([&] { return Training(resnet, config, 13, 2); }, 2, 12 - 2);
  const WithPrecision bf16(cuda::Precision::bf16);
  expect_replayed_as_launched([&] { return Training(resnet, config, 12, 2); }, 1, 4);
}

TEST_F(CapturedStepOnCuda, IsCapturedAgainBehindACut) {
  expect_replayed_as_launched([] { return Training(vgg, with_momentum(), 18, 2); }, 1, 2 + 3, {},
                              [](Training& t, int64_t step) {
                                if (step == 4) cut_thirds(t);
                              });
}

TEST_F(CapturedStepOnCuda, AccumulatedBatchesAreOneGraph) {
  TrainConfig config = with_adam();
  config.accumulate = 2;
  // 5 batches: two steps of two, and one of the last.
  expect_replayed_as_launched([&] { return Training(mlp, config, 50, 10); }, 4, 6);
}

TEST_F(CapturedStepOnCuda, MixedImagesAreLaunched) {
  expect_replayed_as_launched(
      [] { return Training(mlp, with_adam(), 40, 10, {{.type = "mixup", .alpha = 0.4}}); }, 2, 0);
}

TEST_F(CapturedStepOnCuda, GoesOnFromAPositionToTheSameBits) {
  struct Leave : Callback {  // as an interrupt does
    void after_step(TrainState& s) override {
      if (s.position.step == 6) throw 6;
    }
  } leave;
  const auto make = [] {
    auto t = std::make_unique<Training>(mlp, with_adam(), 25, 10);
    t->state->total_steps = 12;
    return t;
  };
  const auto whole = make(), parted = make();
  Trainer(*whole->state, whole->callbacks()).run(whole->loader);
  EXPECT_THROW(Trainer(*parted->state, parted->callbacks({&leave})).run(parted->loader), int);
  Trainer(*parted->state, parted->callbacks()).run(parted->loader);
  parted->position.loss_sum = whole->position.loss_sum;  // what was not settled is lost with the process
  parted->position.correct = whole->position.correct;
  expect_same(*parted, *whole);
}

TEST_F(CapturedStepOnCuda, GivesItsMemoryToWhoNeedsItAndIsCapturedAgain) {
  ModelOptions wide = mlp;
  wide.hidden = {2100};  // whose 8 MiB are a slab of their own
  Training launched(wide, with_adam(), 8000, 1000), captured(wide, with_adam(), 8000, 1000);
  const std::vector<double> expected = launched.train(false, 1);
  const auto ask = [](int64_t step) {
    if (step == 4) {
      EXPECT_THROW(Tensor::empty({int64_t{1} << 50}, DType::u8, Device::cuda), Error);
    }
  };
  EXPECT_EQ(captured.train(true, 1, {}, ask), expected);
  EXPECT_EQ(captured.replayed, 2 + 2);
  expect_same(captured, launched);
}

TEST_F(CapturedStepOnCuda, MasksThatMoveGoOnToTheSameBits) {
  struct Leave : Callback {
    explicit Leave(int64_t step) : step(step) {}
    void after_step(TrainState& s) override {
      if (s.position.step == step) throw 6;
    }
    int64_t step;
  };
  for (const std::string& method : regrowths().names()) {
    SCOPED_TRACE(method);
    const auto make = [&] {
      TrainConfig config = with_adam();
      config.regrow = RegrowConfig{.type = method, .begin = 1, .end = 11, .every = 3};
      auto t = std::make_unique<Training>(mlp, config, 25, 10);
      t->state->total_steps = 12;
      mask_half(*t, 1);
      return t;
    };
    const auto whole = make();
    Trainer(*whole->state, whole->callbacks()).run(whole->loader);
    for (const int64_t step : {4, 5, 8}) {  // masks move after steps 2, 5, 8 and 11
      const auto parted = make();
      Leave leave(step);
      EXPECT_THROW(Trainer(*parted->state, parted->callbacks({&leave})).run(parted->loader), int);
      Trainer(*parted->state, parted->callbacks()).run(parted->loader);
      parted->position.loss_sum = whole->position.loss_sum;  // what was not settled is lost with the process
      parted->position.correct = whole->position.correct;
      expect_same(*parted, *whole);
      for (Parameter* weight : learning_weights(*parted->model)) {
        const Parameter& wanted = *whole->model->find(weight->name);
        EXPECT_TRUE(std::ranges::equal(weight->mask.to(Device::cpu).span<uint8_t>(),
                                       wanted.mask.to(Device::cpu).span<uint8_t>()))
            << weight->name;
      }
    }
  }
}

#ifdef ESPALIER_CUDA_EMULATED

using emulation::Counters;

/// What the host asks of the card from one step's end to the next's.
struct Watch : Callback {
  void after_step(TrainState&) override {
    const Counters now = emulation::counters();
    steps.push_back(now - before_);
    before_ = now;
  }
  std::vector<Counters> steps;

 private:
  Counters before_ = emulation::counters();
};

/// 20 steps with rows of metrics after steps 10 and 20: those between are watched.
std::vector<Counters> between_log_points(Training& t, std::vector<Callback*> callbacks) {
  const TemporaryFolder folder;
  MetricsFile file(folder.path() / "metrics.jsonl", 0, [] { return 0.0; });
  MetricsCallback metrics(file);
  Watch watch;
  t.config.log_every = 10;
  t.state->total_steps = 20;
  callbacks.push_back(&metrics);
  callbacks.push_back(&watch);
  Trainer(*t.state, t.callbacks(callbacks)).run(t.loader);
  return {watch.steps.begin() + 10, watch.steps.begin() + 19};
}

void expect_nothing_waits_or_crosses(Training& t, const std::vector<Callback*>& callbacks = {}) {
  for (const Counters& step : between_log_points(t, callbacks)) {
    EXPECT_EQ(step.synchronisations, 0);
    EXPECT_EQ(step.allocations, 0);
    EXPECT_EQ(step.frees, 0);
    EXPECT_EQ(step.uploads, 0);
    EXPECT_EQ(step.downloads, 0);
    EXPECT_EQ(step.graph_launches, 1);
    EXPECT_EQ(step.library_calls, 0);
  }
}

TEST_F(CapturedStepOnCuda, BetweenLogPointsNothingWaitsIsAllocatedOrCrosses) {
  Training dense(mlp, with_adam(), 100, 5);
  expect_nothing_waits_or_crosses(dense);
  Training masked(vgg, with_momentum(), 40, 2, {{.type = "flip"}, {.type = "crop", .pad = 4}});
  mask_half(masked, 1);
  expect_nothing_waits_or_crosses(masked);
  TrainConfig config = with_a_teacher();
  config.distill->features = {{.student = "layer2"}};
  Training taught(resnet, config, 40, 2);
  expect_nothing_waits_or_crosses(taught);
  for (const char* penalty : {"group_norm", "greg1"}) {
    Training pulled(resnet, with_momentum(), 40, 2);
    RegularizeCallback regularize(
        make_penalty(*pulled.model, pulled.input, {.type = penalty, .growth = 0.1, .every = 1}));
    expect_nothing_waits_or_crosses(pulled, {&regularize});
  }
}

TEST_F(CapturedStepOnCuda, BetweenMovesOfMasksNothingWaitsIsAllocatedOrCrosses) {
  for (const std::string& method : regrowths().names()) {
    SCOPED_TRACE(method);
    TrainConfig config = with_momentum();
    config.regrow = RegrowConfig{.type = method, .begin = 5, .end = 5, .every = 1};
    Training moved(vgg, config, 40, 2);
    mask_half(moved, 1);
    expect_nothing_waits_or_crosses(moved);
  }
}

// At the widths and the batch of a real run; nothing of it is done.
TEST_F(CapturedStepOnCuda, AStepOfVgg19IsAtMostFourCallsALayerAndDirection) {
  const auto model = make_model({.type = "vgg19", .input = {32, 32, 3}}, 5);
  const auto layers = static_cast<int64_t>(Network(*model, {32, 32, 3}).layers.size());
  EXPECT_EQ(layers, 16 + 16 + 1);
  model->to(Device::cuda);
  const auto optimizer = make_optimizer(with_momentum().optimizer, model->parameters());
  const Variable images(Tensor::zeros({128, 32, 32, 3}, DType::f32, Device::cuda));
  const Tensor labels = Tensor::zeros({128}, DType::i32, Device::cuda);
  cuda::release(cuda::allocate(size_t{6} << 30));  // a capture gets no more from the driver
  Variable loss;
  const cuda::Graph forward([&] { loss = ops::softmax_cross_entropy(model->forward(images), labels).loss; });
  const cuda::Graph backward([&] { loss.backward(); });
  const cuda::Graph update([&] { optimizer->step(0.1); });
  EXPECT_LE(forward.size(), 4 * layers);
  EXPECT_LE(backward.size(), 4 * layers);
  // What docs/cuda.md says.
  EXPECT_EQ(forward.size(), 71);
  EXPECT_EQ(backward.size(), 104);
  EXPECT_EQ(update.size(), 1);
  cuda::trim_memory();
}

/// A network during whose pass the card fails once it is told to.
class Fragile : public Module {
 public:
  explicit Fragile(std::unique_ptr<Module> inner) : inner_(*inner) { adopt("inner", std::move(inner)); }
  std::string type() const override { return "fragile"; }
  Variable forward(const Variable& x) override {
    {
      const std::scoped_lock lock(emulation::api_mutex());
      emulation::enqueue(cuda::stream(), [this] {
        if (fails) emulation::break_device(cudaErrorLaunchFailure, "told to");
      });
    }
    return inner_(x);
  }
  bool fails = false;

 private:
  Module& inner_;
};

TEST_F(CapturedStepOnCuda, AFailureInAGraphNamesTheLastStepThatIsSure) {
  struct Tell : Callback {
    explicit Tell(Fragile& network) : network(network) {}
    void after_step(TrainState& s) override {
      if (s.position.step == 5) s.settle();
      if (s.position.step == 7) network.fails = true;
    }
    Fragile& network;
  };
  auto fragile = std::make_unique<Fragile>(make_model(mlp, 5));
  Tell tell(*fragile);
  Training t(std::move(fragile), mlp, with_adam(), 100, 10);
  t.state->total_steps = 10;
  Trainer trainer(*t.state, t.callbacks({&tell}));
  const std::string message = message_of([&] { trainer.run(t.loader); });
  emulation::reset();
  EXPECT_EQ(trainer.replayed(), 8);
  EXPECT_TRUE(contains(message,
                       "stage 'fit': the card failed after step 5, the last that is sure; step 10 "
                       "had been asked for: cuda: "));
  EXPECT_TRUE(contains(message, "told to"));
  EXPECT_TRUE(contains(message, "; no checkpoint has been written yet"));
}

#endif

}  // namespace
}  // namespace espalier::captured_step_test
