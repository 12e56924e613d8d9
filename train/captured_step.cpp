#include "espalier/train/captured_step.h"

#include <algorithm>
#include <optional>

#include "espalier/core/cuda_device.h"

namespace espalier {

#ifdef ESPALIER_CUDA

namespace {
constexpr int launched_first = 2, most_attempts = 3;
}

struct CapturedStep::OnCard {
  /// What a graph has taken down of what the passes read.
  struct Input {
    const void* data;
    Shape shape;
    bool learned = false;
    bool operator==(const Input&) const = default;
  };
  struct Inputs {
    Inputs(bool training, const std::vector<Parameter*>& parameters, std::span<const Batch> batches)
        : training(training), precision(cuda::precision()) {
      for (const Parameter* parameter : parameters)
        if (!parameter->is_count())
          tensors.push_back(
              {parameter->value().raw(), parameter->shape(), parameter->variable.requires_gradient()});
      for (const Batch& batch : batches)
        for (const Tensor* tensor : {&batch.images, &batch.labels})
          tensors.push_back({tensor->raw(), tensor->shape()});
    }
    bool operator==(const Inputs&) const = default;

    bool training;
    cuda::Precision precision;
    std::vector<Input> tensors;
  };

  /// Counts of batches, which the host keeps.
  struct Count {
    Parameter* parameter;
    int64_t value;
    int64_t& now() const { return *parameter->value().data<int64_t>(); }
  };
  static std::vector<Count> counts_of(const std::vector<Parameter*>& parameters) {
    std::vector<Count> counts;
    for (Parameter* parameter : parameters)
      if (parameter->is_count()) counts.push_back({parameter, *parameter->value().data<int64_t>()});
    return counts;
  }

  cuda::PrivateMemory memory;  // outlives all that is in it
  std::optional<Inputs> inputs;
  int launched = 0, attempts = 0;  // with these
  std::optional<cuda::Graph> graph;
  // What a launch of it leaves.
  StepLosses losses;
  std::vector<std::pair<Parameter*, Tensor>> gradients;
  std::vector<Count> counted;  // by how much

  void forget() {
    graph.reset();
    losses.clear();
    gradients.clear();
    launched = attempts = 0;
    memory.trim();
  }

  /// False, and all as it was, where the passes cannot be captured.
  bool capture(const std::vector<Parameter*>& parameters, const Passes& passes) {
    ++attempts;
    counted = counts_of(parameters);
    try {
      graph.emplace([&] { losses = passes(); });
    } catch (const Error&) {
      for (const Count& count : counted) count.now() = count.value;
      return false;
    }
    memory.hold();
    for (Count& count : counted) count.value = count.now() - count.value;
    for (Parameter* parameter : parameters)
      if (parameter->gradient().defined()) gradients.emplace_back(parameter, parameter->gradient());
    return true;
  }

  /// On the host, what the passes do there.
  void repeat() const {
    for (const auto& [parameter, gradient] : gradients) parameter->gradient() = gradient;
    for (const Count& count : counted) count.now() += count.value;
  }

  /// True where there is a graph of these passes, and all is done but its launch.
  bool prepare(bool training, const std::vector<Parameter*>& parameters, std::span<const Batch> batches,
               const Passes& passes) {
    if (std::ranges::any_of(batches, [](const Batch& batch) { return batch.share < 1; })) return false;
    Inputs now(training, parameters, batches);
    if (inputs != now || (graph && !memory.held())) {
      forget();
      inputs = std::move(now);
    }
    if (graph) {
      repeat();
      return true;
    }
    if (launched >= launched_first && attempts < most_attempts && capture(parameters, passes)) return true;
    ++launched;
    return false;
  }
};

CapturedStep::OnCard& CapturedStep::on_card() {
  if (!card_) card_ = std::make_unique<OnCard>();
  return *card_;
}

StepLosses CapturedStep::run(std::span<const Batch> batches, const Passes& passes) {
  auto parameters = model_.parameters();
  parameters.insert(parameters.end(), beside_.begin(), beside_.end());
  if (batches.front().images.device() != Device::cuda || !cuda::Graph::possible() ||
      !on_card().prepare(model_.training(), parameters, batches, passes))
    return passes();
  card_->graph->launch();
  ++replayed_;
  return card_->losses;
}

std::shared_ptr<void> CapturedStep::memory(Device device) {
  if (device != Device::cuda) return nullptr;
  return std::make_shared<cuda::PrivateMemory::Use>(on_card().memory);
}

#else

struct CapturedStep::OnCard {};
StepLosses CapturedStep::run(std::span<const Batch>, const Passes& passes) { return passes(); }
std::shared_ptr<void> CapturedStep::memory(Device) { return nullptr; }

#endif

CapturedStep::CapturedStep(Module& model, std::vector<Parameter*> beside)
    : model_(model), beside_(std::move(beside)) {}
CapturedStep::~CapturedStep() = default;

}  // namespace espalier
