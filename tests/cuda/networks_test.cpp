// Whole networks on the GPU against the CPU: steps of training, masks, clipping, averages, penalties, cuts.
#include <functional>

#include "cuda/on_cuda.h"
#include "espalier/channels/surgery.h"
#include "espalier/core/compute_device.h"
#include "espalier/formats/safetensors.h"
#include "espalier/graph/ops.h"
#include "espalier/nn/inference.h"
#include "espalier/nn/models/models.h"
#include "espalier/nn/network.h"
#include "espalier/nn/state_dict.h"
#include "espalier/optim/clip.h"
#include "espalier/optim/ema.h"
#include "espalier/optim/optimizer.h"
#include "espalier/penalty/penalty.h"
#include "espalier/prune/mask.h"
#include "espalier/prune/pruner.h"
#include "espalier/prune/signals.h"
#include "espalier/prune/straight_through.h"
#include "prune/small_net.h"
#include "support/numbers.h"
#include "support/temporary_folder.h"

namespace espalier::networks_test {
namespace {

using NetworksOnCuda = OnCuda;

constexpr int64_t images = 8;

/// The same network on the CPU and on the GPU, with the same batches.
struct Twins {
  explicit Twins(ModelOptions options) : input(options.input), classes(options.classes) {
    here = make_model(options, 5);
    there = make_model(options, 5);
    there->to(Device::cuda);
  }
  SignalBatch batch(Device device, int64_t step) const {
    const Tensor x = random_tensor({images, input[0], input[1], input[2]}, 100 + static_cast<uint64_t>(step));
    std::vector<int32_t> labels;
    for (int64_t i = 0; i < images; ++i) labels.push_back(static_cast<int32_t>((i * 3 + step) % classes));
    return {x.to(device).to(activation_dtype(device)), Tensor::from({images}, labels, device)};
  }
  Variable loss(Module& model, Device device, int64_t step) const {
    const SignalBatch one = batch(device, step);
    return ops::softmax_cross_entropy(model.forward(Variable(one.images)), one.labels).loss;
  }

  Shape input;
  int64_t classes;
  std::unique_ptr<Module> here, there;
};

/// Drops about every other number of all weights.
void mask_half(Module& model) {
  for (Parameter* parameter : model.parameters())
    if (parameter->role == Role::weight)
      parameter->set_mask(Tensor::from(parameter->shape(), random_mask(parameter->value().elements(), 6)));
}

/// What a mask drops is 0, on the GPU, in the value and in all its state.
void expect_held(Module& model) {
  for (Parameter* parameter : model.parameters()) {
    if (!parameter->mask.defined()) continue;
    ASSERT_EQ(parameter->mask.device(), parameter->value().device());
    const Tensor mask = parameter->mask.to(Device::cpu);
    NamedState all = parameter->state;
    all["value"] = parameter->value();
    for (const auto& [name, tensor] : all) {
      const Tensor host = tensor.to(Device::cpu);
      for (int64_t i = 0; i < host.elements(); ++i)
        ASSERT_TRUE(mask.span<uint8_t>()[static_cast<size_t>(i)] ||
                    host.span<float>()[static_cast<size_t>(i)] == 0.0f)
            << parameter->name << " at " << i;
    }
  }
}

void expect_all_on(Module& model, Device device) {
  for (Parameter* parameter : model.parameters()) {
    if (parameter->is_count()) continue;
    EXPECT_EQ(parameter->value().device(), device) << parameter->name;
    parameter->for_tensors([&](std::string_view name, const Tensor& tensor) {
      EXPECT_EQ(tensor.device(), device) << parameter->name << ", " << name;
    });
  }
}

/// Of all channels that may go every third does.
void cut_thirds(Module& model, const Shape& input) {
  const auto groups = channel_graph(model, Network(model, input).graph).groups;
  std::vector<std::vector<uint8_t>> kept;
  for (const ChannelGroup& group : groups) {
    std::vector<uint8_t>& stays = kept.emplace_back(static_cast<size_t>(group.channels), uint8_t{1});
    for (size_t c = 1; group.fixed.empty() && c < stays.size(); c += 3) stays[c] = 0;
  }
  cut(model, cuts_of(groups, kept));
}

struct Training {
  OptimizerOptions optimizer = {};
  bool masks = false, cut = false;
  double clip = 0;
  double tolerance = 1e-4;  ///< of a loss
};

/// Three steps; the losses of both, and the weights that come of them, are the same.
void expect_same_training(const ModelOptions& options, const Training& how) {
  Twins twins(options);
  if (how.masks) {
    mask_half(*twins.here);
    mask_half(*twins.there);
  }
  const auto here = make_optimizer(how.optimizer, twins.here->parameters()),
             there = make_optimizer(how.optimizer, twins.there->parameters());
  for (int64_t step = 0; step < 3; ++step) {
    const auto run = [&](Module& model, Device device, Optimizer& optimizer) {
      optimizer.clear_gradients();
      const Variable loss = twins.loss(model, device, step);
      loss.backward();
      optimizer.step(how.optimizer.lr,
                     how.clip > 0 ? clip_factor(optimizer.parameters(), how.clip) : Tensor());
      return loss.value().item();
    };
    const float expected = run(*twins.here, Device::cpu, *here),
                actual = run(*twins.there, Device::cuda, *there);
    EXPECT_NEAR(actual, expected, how.tolerance * std::max(1.0f, std::abs(expected))) << "step " << step;
    expect_all_on(*twins.there, Device::cuda);
    if (how.masks) expect_held(*twins.there);
    if (!how.cut || step != 1) continue;
    cut_thirds(*twins.here, twins.input);
    cut_thirds(*twins.there, twins.input);
  }
  if (how.cut) {
    const Network left(*twins.there, twins.input), expected(*twins.here, twins.input);
    EXPECT_EQ(left.totals.macs, expected.totals.macs);
  }
}

const std::vector<std::pair<const char*, ModelOptions>>& networks() {
  static const std::vector<std::pair<const char*, ModelOptions>> all = {
      {"mlp", {.type = "mlp"}},
      {"lenet5", {.type = "lenet5"}},
      {"vgg11", {.type = "vgg11", .input = {32, 32, 3}, .width = 0.125}},
      {"resnet20", {.type = "resnet20", .input = {32, 32, 3}}},
      {"vit", {.type = "vit", .input = {16, 16, 3}, .width = 0.25}}};
  return all;
}

// Small rates: what a relu rounds to its other side moves the losses of a ResNet by more than 1e-4 at large
// ones.
const OptimizerOptions sgd{.type = "sgd", .lr = 0.002, .momentum = 0.9, .weight_decay = 5e-4},
    adam{.type = "adam", .lr = 2e-5};

TEST_F(NetworksOnCuda, TrainWithMomentum) {
  for (const auto& [name, options] : networks()) {
    SCOPED_TRACE(name);
    expect_same_training(options, {.optimizer = sgd});
  }
}

TEST_F(NetworksOnCuda, TrainWithAdam) {
  for (const auto& [name, options] : networks()) {
    SCOPED_TRACE(name);
    expect_same_training(options, {.optimizer = adam});
  }
}

TEST_F(NetworksOnCuda, TrainClippedUnderMasks) {
  for (const auto& [name, options] : networks()) {
    SCOPED_TRACE(name);
    expect_same_training(options, {.optimizer = sgd, .masks = true, .clip = 0.5});
  }
}

TEST_F(NetworksOnCuda, ChannelsAreCutInMidTraining) {
  for (const auto& [name, options] : networks()) {
    SCOPED_TRACE(name);
    expect_same_training(options, {.optimizer = sgd, .masks = true, .cut = true});
  }
  expect_same_training({.type = "lenet5"}, {.optimizer = adam, .cut = true});
}

TEST_F(NetworksOnCuda, ResNet50) {
  OptimizerOptions slow = sgd;
  slow.lr = 2e-6;  // of noise its 50 layers make chaos, and each build's rounding is another
  expect_same_training({.type = "resnet50", .input = {32, 32, 3}, .width = 0.125}, {.optimizer = slow});
}

// A rounded number is off by 2^-9 of itself at most, and at random; through the layers of these networks
// their outputs come to be off by a hundredth or so, and a loss, a mean over the batch, by less.
TEST_F(NetworksOnCuda, TrainInBf16) {
  const WithPrecision bf16(cuda::Precision::bf16);
  for (const auto& [name, options] : networks())
    for (const bool cut : {false, true}) {
      SCOPED_TRACE(testing::Message() << name << ", cut " << cut);
      expect_same_training(options, {.optimizer = sgd, .masks = cut, .cut = cut, .tolerance = 2e-2});
    }
}

TEST_F(NetworksOnCuda, InferInBf16) {
  const WithPrecision bf16(cuda::Precision::bf16);
  for (const auto& [name, options] : networks()) {
    SCOPED_TRACE(name);
    const Twins twins(options);
    const Inference first(*twins.here), second(*twins.there);
    for (const int64_t step : {0, 1, 1}) {
      const float expected = twins.loss(*twins.here, Device::cpu, step).value().item();
      EXPECT_NEAR(twins.loss(*twins.there, Device::cuda, step).value().item(), expected, 2e-2 * expected);
    }
  }
}

TEST_F(NetworksOnCuda, InferenceIsTheSame) {
  for (const auto& [name, options] : networks()) {
    SCOPED_TRACE(name);
    const Twins twins(options);
    const Inference first(*twins.here), second(*twins.there);
    for (const int64_t step : {0, 1})
      EXPECT_NEAR(twins.loss(*twins.there, Device::cuda, step).value().item(),
                  twins.loss(*twins.here, Device::cpu, step).value().item(), 1e-4);
  }
}

TEST_F(NetworksOnCuda, PruningIsTheSame) {
  for (const auto& [name, options] : networks()) {
    SCOPED_TRACE(name);
    Twins twins(options);
    const PruneOptions weights{.target = {Target::sparsity, 0.5}};
    EXPECT_EQ(prune(*twins.there, twins.input, weights).total().pruned,
              prune(*twins.here, twins.input, weights).total().pruned);
    for (Parameter* parameter : twins.there->parameters())
      if (parameter->mask.defined()) {
        const Tensor mask = parameter->mask.to(Device::cpu),
                     expected = twins.here->find(parameter->name)->mask;
        EXPECT_TRUE(std::ranges::equal(mask.span<uint8_t>(), expected.span<uint8_t>())) << parameter->name;
      }
    // Weights are the same bits on both, so that the same channels go; each cut is proved where it is made.
    PruneOptions channels = cut_channels({.kind = Target::speedup, .value = 1.5});
    channels.verify = random_tensor({4, options.input[0], options.input[1], options.input[2]}, 8);
    const auto cut = [&](Module& model) { return prune(model, twins.input, channels); };
    const auto expected = cut(*twins.here), actual = cut(*twins.there);
    EXPECT_EQ(actual.cuts, expected.cuts);
    ASSERT_TRUE(actual.proof.has_value());
    EXPECT_TRUE(actual.proof->holds());
    for (const auto& [key, tensor] : state_dict(*twins.there)) {
      EXPECT_EQ(tensor.device(), Device::cpu);
      if (tensor.dtype() != DType::f32) continue;
      const Tensor wanted = to_file_layout(*twins.here->find(key), twins.here->find(key)->value());
      EXPECT_TRUE(near(tensor, doubles(wanted.span<float>()), 1e-5)) << key;
    }
  }
}

/// Every unit, zeroed and held through two steps under a penalty: the same masks, and the same weights after
/// it.
TEST_F(NetworksOnCuda, EveryUnitIsHeldTheSame) {
  const std::vector<Unit> units = {Unit::weight,         Unit::filter,      Unit::column, Unit::kernel,
                                   Unit::block_of(2, 3), unit_named("2:4"), Unit::layer,  Unit::channel};
  for (const Unit& unit : units) {
    SCOPED_TRACE(unit.name());
    Twins twins({.type = "lenet5"});
    PruneOptions options{.unit = unit,
                         .target = {unit.kind == Unit::channel ? Target::ratio : Target::sparsity, 0.5}};
    options.exclude = {"conv1"};  // which has one column
    if (unit.kind == Unit::n_of_m) options.target = {};
    const PenaltyOptions group_norm{.type = "group_norm", .weight = 0.01};
    const auto act = [&](Module& model, Device device) {
      const int64_t pruned = prune(model, twins.input, options).total().pruned;
      const auto penalty = make_penalty(model, twins.input, group_norm);
      const auto optimizer = make_optimizer(sgd, model.parameters());
      for (const int64_t step : {0, 1}) {
        optimizer->clear_gradients();
        twins.loss(model, device, step).backward();
        penalty->add_gradients(step);
        optimizer->step(sgd.lr);
      }
      return pruned;
    };
    const int64_t pruned = act(*twins.here, Device::cpu);
    EXPECT_GT(pruned, 0);
    EXPECT_EQ(act(*twins.there, Device::cuda), pruned);
    expect_all_on(*twins.there, Device::cuda);
    expect_held(*twins.there);
    size_t masked = 0;
    for (Parameter* parameter : twins.there->parameters()) {
      const Parameter& expected = *twins.here->find(parameter->name);
      ASSERT_EQ(parameter->mask.defined(), expected.mask.defined()) << parameter->name;
      EXPECT_TRUE(near(parameter->value().to(Device::cpu), doubles(expected.value().span<float>()), 1e-5))
          << parameter->name;
      if (!parameter->mask.defined()) continue;
      ++masked;
      EXPECT_TRUE(
          std::ranges::equal(parameter->mask.to(Device::cpu).span<uint8_t>(), expected.mask.span<uint8_t>()))
          << parameter->name;
    }
    EXPECT_GT(masked, 0u);
  }
}

/// Two moves from the same weights, masks and gradients: the same masks, values and state.
TEST_F(NetworksOnCuda, MasksMoveTheSame) {
  for (const RegrowthInfo& method : regrowths()) {
    SCOPED_TRACE(method.name);
    Twins twins({.type = "lenet5"});
    const auto act = [&](Module& model, Device device) {
      const auto weights = learning_weights(model);
      std::vector<RegrowLayer> layers;
      if (method.trains != Trains::active) start_unmasked(weights);
      if (method.trains == Trains::explored) start_reach(weights);
      mask_half(model);
      const std::optional<Explored> explored =
          method.trains == Trains::explored ? std::optional(Explored{0.25, 0.01}) : std::nullopt;
      for (Parameter* weight : weights) {
        weight->state["slot0"] = random_tensor(weight->shape(), 12).to(device);
        weight->gradient() = random_tensor(weight->shape(), 11).to(device);
        layers.push_back({weight, weight->gradient()});
      }
      if (method.needs == GrowNeeds::average) start_gradient_average(weights);
      Regrown::Layer sum{};
      for (uint64_t step = 0; step < 2; ++step) {
        if (method.needs == GrowNeeds::average) update_gradient_average(weights, 0.9);
        if (method.trains == Trains::active) {
          sum = regrow(layers, method, 0.3, step).total();
          continue;
        }
        if (explored) keep_reached_gradients(weights);
        const auto optimizer = make_optimizer({.type = "sgd"}, weights);
        optimizer->step(0.1);
        if (explored) decay_reached(weights, 0.01);
        follow_unmasked(weights);
        sum = choose_masks(weights, explored).total();
      }
      return sum.grown;
    };
    const int64_t moved = act(*twins.here, Device::cpu);
    EXPECT_GT(moved, 0);
    EXPECT_EQ(act(*twins.there, Device::cuda), moved);
    expect_all_on(*twins.there, Device::cuda);
    for (Parameter* there : learning_weights(*twins.there)) {
      const Parameter& here = *twins.here->find(there->name);
      EXPECT_TRUE(std::ranges::equal(there->mask.to(Device::cpu).span<uint8_t>(), here.mask.span<uint8_t>()))
          << there->name;
      EXPECT_TRUE(near(there->value().to(Device::cpu), doubles(here.value().span<float>()), 1e-6))
          << there->name;
      ASSERT_EQ(there->state.size(), here.state.size());
      for (const auto& [name, tensor] : there->state)
        EXPECT_TRUE(near(tensor.to(Device::cpu), doubles(here.state_of(name).span<float>()), 1e-6))
            << there->name << ", " << name;
    }
  }
}

TEST_F(NetworksOnCuda, SignalsAreTheSame) {
  for (const Criterion& criterion : criteria()) {
    if (!kind_of(criterion.needs).gather || criterion.needs == Needs::movement) continue;
    SCOPED_TRACE(criterion.name);
    const Twins twins({.type = "lenet5"});
    const auto gather = [&](Module& model, Device device) {
      return gather_signals(model, twins.input, criterion,
                            {.batches = 2,
                             .batch = [&](int64_t i) { return twins.batch(device, i); },
                             .loss =
                                 [](const Variable& logits, const SignalBatch& batch) {
                                   return ops::softmax_cross_entropy(logits, batch.labels).loss;
                                 }});
    };
    const Signals expected = gather(*twins.here, Device::cpu), actual = gather(*twins.there, Device::cuda);
    ASSERT_EQ(actual.of_parameters.size(), expected.of_parameters.size());
    ASSERT_FALSE(actual.of_parameters.empty());
    for (const auto& [parameter, tensor] : actual.of_parameters) {
      const Tensor& same = expected.of_parameters.at(twins.here->find(parameter->name));
      double largest = 0;
      for (const float number : same.span<float>()) largest = std::max(largest, std::abs(double{number}));
      for (int64_t i = 0; i < same.elements(); ++i)
        ASSERT_NEAR(tensor.f32()[i], same.f32()[i], 1e-4 * largest) << parameter->name << " at " << i;
    }
  }
}

TEST_F(NetworksOnCuda, PenaltiesAreTheSame) {
  for (const auto& [name, options] : networks())
    for (const std::string& penalty : penalties().names()) {
      const bool residual = std::string(name) == "resnet20", flat = std::string(name) == "lenet5";
      if (!(residual || flat) || (flat && penalty == "bn_scale")) continue;  // lenet5 has no norms
      SCOPED_TRACE(testing::Message() << name << ", " << penalty);
      Twins twins(options);
      const PenaltyOptions how{.type = penalty, .weight = 0.1, .growth = 0.1, .every = 1};
      const auto here = make_penalty(*twins.here, twins.input, how),
                 there = make_penalty(*twins.there, twins.input, how);
      for (Parameter* parameter : twins.here->parameters()) {
        if (!parameter->learned()) continue;
        parameter->gradient() = random_tensor(parameter->shape(), 11);
        twins.there->find(parameter->name)->gradient() = parameter->gradient().clone(Device::cuda);
      }
      for (const int64_t step : {0, 40}) {  // greg2 parts the channels first, then pushes those it chose
        here->add_gradients(step);
        there->add_gradients(step);
      }
      EXPECT_EQ(there->state(), here->state());
      for (Parameter* parameter : twins.there->parameters())
        if (parameter->gradient().defined()) {
          EXPECT_TRUE(near(parameter->gradient().to(Device::cpu),
                           doubles(twins.here->find(parameter->name)->gradient().span<float>()), 1e-4))
              << parameter->name;
        }
    }
}

TEST_F(NetworksOnCuda, AveragesAreTheSameAndStayWhereTheWeightsAre) {
  Twins twins({.type = "lenet5"});
  const auto average = [&](Module& model, Device device) {
    const auto optimizer = make_optimizer(sgd, model.parameters());
    start_average(optimizer->parameters());
    for (int64_t step = 0; step < 2; ++step) {
      optimizer->clear_gradients();
      twins.loss(model, device, step).backward();
      optimizer->step(sgd.lr);
      update_average(optimizer->parameters(), 0.9);
    }
    const AverageInPlace averages(model.parameters());
    return state_dict(model);
  };
  const NamedTensors expected = average(*twins.here, Device::cpu),
                     actual = average(*twins.there, Device::cuda);
  for (size_t i = 0; i < actual.size(); ++i)
    EXPECT_TRUE(near(actual[i].second, doubles(expected[i].second.span<float>()), 1e-5)) << actual[i].first;
}

TEST_F(NetworksOnCuda, FilesAreTheSameOnEitherDevice) {
  const Twins twins({.type = "resnet20", .input = {32, 32, 3}});
  const TemporaryFolder folder;
  const TensorFile from_there{.tensors = state_dict(*twins.there), .metadata = {}};
  write_safetensors(folder.path() / "state.safetensors", from_there);
  const TensorFile read = read_safetensors(folder.path() / "state.safetensors");
  const auto other = make_model({.type = "resnet20", .input = {32, 32, 3}}, 6);
  load_state_dict(*other, read.tensors, "state");
  other->to(Device::cuda);
  load_state_dict(*other, read.tensors, "state");
  for (Parameter* parameter : twins.here->parameters()) {
    if (parameter->is_count()) continue;
    EXPECT_TRUE(same_bits(other->find(parameter->name)->value().to(Device::cpu), parameter->value()))
        << parameter->name;
  }
  // Tensors that are still on the GPU are written, too.
  write_safetensors(folder.path() / "direct.safetensors",
                    {.tensors = {{"w", Tensor::full({3}, 2.0f, Device::cuda)}}, .metadata = {}});
  EXPECT_EQ(read_safetensors(folder.path() / "direct.safetensors").find("w")->span<float>()[2], 2.0f);
}

TEST_F(NetworksOnCuda, StepsRepeatBitByBit) {
  for (const auto precision : {cuda::Precision::f32, cuda::Precision::bf16}) {
    const WithPrecision with(precision);
    const auto train = [] {
      const Twins twins({.type = "resnet20", .input = {32, 32, 3}});
      const auto optimizer = make_optimizer(sgd, twins.there->parameters());
      for (int64_t step = 0; step < 3; ++step) {
        optimizer->clear_gradients();
        twins.loss(*twins.there, Device::cuda, step).backward();
        optimizer->step(sgd.lr);
      }
      return state_dict(*twins.there);
    };
    const NamedTensors first = train(), second = train();
    for (size_t i = 0; i < first.size(); ++i) {
      if (first[i].second.dtype() != DType::f32) continue;  // a count
      EXPECT_TRUE(same_bits(first[i].second, second[i].second)) << first[i].first;
    }
  }
}

}  // namespace
}  // namespace espalier::networks_test
