#include "espalier/run/memory.h"

#include <fmt/format.h>

#include <algorithm>

#include "espalier/core/compute_device.h"
#include "espalier/core/physical_memory.h"
#include "espalier/nn/network.h"
#include "espalier/optim/ema.h"
#include "espalier/prune/regrow.h"
#include "espalier/prune/signals.h"
#include "espalier/run/build.h"
#include "espalier/run/checkpoint.h"
#include "espalier/run/distill.h"
#include "espalier/run/pruning.h"
#include "espalier/train/callbacks.h"
#include "espalier/util/table.h"

namespace espalier {
namespace {

double bytes_of(const Tensor& tensor) { return tensor.defined() ? static_cast<double>(tensor.bytes()) : 0; }

/// What drawn data are, whose number and shape the config says.
bool is_drawn(const Config& config) {
  const DatasetInfo* info = datasets().find(config.data.type);
  return info && info->is_drawn;
}
double drawn_bytes(const Config& config) {
  const auto images = static_cast<double>(config.data.train_images + config.data.test_images);
  return is_drawn(config) ? images * static_cast<double>(config.model.input.elements()) : 0;
}

double bytes_of(const std::vector<Parameter*>& parameters) {
  double bytes = 0;
  for (const Parameter* p : parameters) bytes += bytes_of(p->value());
  return bytes;
}

/// Of activations, which are counted as f32.
double in_precision(double bytes) { return std::string_view(precision_name()) == "bf16" ? bytes / 2 : bytes; }

int64_t batch_of(const Config& config, const DataSplits* data) {
  const int64_t images = data ? data->train.size() : is_drawn(config) ? config.data.train_images : 1;
  return std::min(config.data.batch, images);
}

/// Adds the teacher of a stage that trains `model`, as far as shapes tell; none where its file is missing, or
/// does not fit, of which check_teacher tells. Returns the maps of its features, or null.
std::unique_ptr<FeatureMaps> add_teacher(MemoryPlan& plan, const Config& config, size_t stage, Module& model,
                                         const std::optional<std::filesystem::path>& checkpoint) {
  const auto& train = config.stages[stage].train;
  if (!train || !train->distill) return nullptr;
  const DistillConfig& distill = *train->distill;
  const auto open = [&] {
    if (!checkpoint || distill.teacher) return planned_teacher(config, distill, {});
    const auto file = teacher_file(distill, RunFolder(checkpoint->parent_path()));
    return std::filesystem::exists(file) ? open_checkpoint(file).model : build_model(config, false);
  };
  try {
    const auto teacher = open();
    plan.include_teacher(*teacher, config.model.input);
    return make_maps(config, stage, model, *teacher);
  } catch (const Error&) {
    return nullptr;
  }
}

/// Gives `model` the shapes, masks and state of a checkpoint; returns the stage in which it goes on.
int64_t take_checkpoint(const std::filesystem::path& checkpoint, Module& model) {
  const auto position = read_checkpoint_info(checkpoint).position;
  load_checkpoint(checkpoint, model);
  return position ? std::max<int64_t>(position->stage, 0) : 0;
}

}  // namespace

std::string MemoryPlan::text() const {
  return fmt::format("{}: data {}, parameters {}, gradients {}, optimizer {}, {}activations of a batch {}",
                     bytes_text(total()), bytes_text(data), bytes_text(parameters), bytes_text(gradients),
                     bytes_text(optimizer), teacher > 0 ? "teacher " + bytes_text(teacher) + ", " : "",
                     bytes_text(activations));
}

int64_t MemoryPlan::batch_within(double bytes) const {
  const double image = activations / static_cast<double>(std::max<int64_t>(batch, 1));
  return static_cast<int64_t>(std::max(0.0, (bytes - (total() - activations)) / std::max(image, 1.0)));
}

void MemoryPlan::include(const DataSplits& splits) {
  for (const Dataset* split : {&splits.train, &splits.validation, &splits.test})
    data += bytes_of(split->images);
}

void MemoryPlan::include(const TrainConfig& config, const std::vector<Parameter*>& all, double whole) {
  MemoryPlan stage;
  if (config.prune && cuts_channels(*config.prune)) stage.parameters = whole;
  if (config.prune && needs_of(*config.prune) == Needs::movement) {  // PruneCallback's, which none here is
    const MetaDevice shapes_alone;
    start_movement(all);
  }
  for (const Parameter* p : all) {
    const bool pruned = config.prune && !cuts_channels(*config.prune) &&
                        (p->role == Role::weight || (p->learned() && config.prune->unit == "channel"));
    if (pruned && !p->mask.defined()) stage.parameters += static_cast<double>(p->value().elements());
    if (p->learned() && !p->frozen()) stage.gradients += bytes_of(p->value());
    p->for_tensors([&](std::string_view name, const Tensor& tensor) {
      const TensorUse use = use_of(name);
      if (use == TensorUse::gradient) return;  // it will have one, whether it has one now or not
      (use == TensorUse::optimizer ? stage.optimizer : stage.parameters) += bytes_of(tensor);
    });
  }
  end_movement(all);
  parameters = std::max(parameters, stage.parameters);
  gradients = std::max(gradients, stage.gradients);
  optimizer = std::max(optimizer, stage.optimizer);
}

void MemoryPlan::include_teacher(Module& network, const Shape& image) {
  for (Parameter* p : network.parameters()) p->variable.set_requires_gradient(false);
  const double pass = in_precision(activation_bytes(network, image)) * static_cast<double>(batch);
  teacher = std::max(teacher, bytes_of(network.parameters()));
  activations = std::max(activations, pass);
}

void MemoryPlan::include_cut(const std::vector<Parameter*>& all, double whole) {
  parameters = std::max(parameters, bytes_of(all) + whole);
}

double whole_bytes(const Config& config) {
  const MetaDevice shapes_alone;
  return bytes_of(build_model(config, false)->parameters());
}

double most_activations(const Config& config, Module& model, size_t first) {
  double largest = 0;
  for (size_t i = first; i < config.stages.size(); ++i) {
    if (!config.stages[i].train) continue;
    const Frozen frozen(model, frozen_layers(*config.stages[i].train, model));
    largest = std::max(largest, activation_bytes(model, config.model.input));
  }
  if (largest == 0) largest = activation_bytes(model, config.model.input);
  return in_precision(largest);
}

MemoryPlan plan_memory(const Config& config, const DataSplits* data,
                       const std::optional<std::filesystem::path>& checkpoint) {
  const MetaDevice shapes_alone;
  MemoryPlan plan;
  if (data)
    plan.include(*data);
  else
    plan.data = drawn_bytes(config);
  const auto model = build_model(config, !checkpoint);
  const int64_t first = checkpoint ? take_checkpoint(*checkpoint, *model) : 0;
  const auto parameters = model->parameters();
  plan.parameters = bytes_of(parameters);
  const double whole = whole_bytes(config);
  plan.batch = batch_of(config, data);
  plan.activations =
      most_activations(config, *model, static_cast<size_t>(first)) * static_cast<double>(plan.batch);
  for (auto i = static_cast<size_t>(first); i < config.stages.size(); ++i) {
    const StageConfig& stage = config.stages[i];
    if (stage.train) {
      const auto maps = add_teacher(plan, config, i, *model, checkpoint);
      const auto beside = maps ? maps->parameters() : std::vector<Parameter*>();
      auto all = parameters;
      all.insert(all.end(), beside.begin(), beside.end());
      const Frozen frozen(*model, frozen_layers(*stage.train, *model));
      const auto optimizer = build_optimizer(stage.train->optimizer, *model, beside);
      for (const auto& callback : step_callbacks(*stage.train)) callback->add_state(all);
      plan.include(*stage.train, all, whole);
      drop_average(parameters);
      drop_unmasked(parameters);
    }
    const PruneConfig* prune = stage.pruning();
    if (!prune || !cuts_channels(*prune)) continue;
    if (stage.prune) plan.include_cut(parameters, whole);
    break;
  }
  return plan;
}

void check_memory(const Config& config, const DataSplits* data,
                  const std::optional<std::filesystem::path>& checkpoint) {
  const MemoryPlan plan = plan_memory(config, data, checkpoint);
  const std::string need =
      join(config.file.empty() ? "" : config.file + ": ", "a run needs about ", plan.text());
  if (compute_device() != Device::cuda) return require_memory(plan.total(), need);
  require_memory(plan.data + plan.parameters, need);  // they pass through the host
  const CardMemory card = card_memory();
  const double max_bytes = card.used + card.left;
  if (plan.total() <= max_bytes) return;
  const int64_t batch = plan.batch_within(max_bytes);
  fail(need, "; the card has ", bytes_text(max_bytes), " of ", bytes_text(card.total), " left",
       batch > 0
           ? join(", for which a batch of about ", batch, " would do, data.batch is ", config.data.batch)
           : "");
}

}  // namespace espalier
