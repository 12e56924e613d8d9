#include "espalier/run/distill.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

#include "espalier/channels/surgery.h"
#include "espalier/config/json.h"
#include "espalier/formats/checksum.h"
#include "espalier/nn/inference.h"
#include "espalier/nn/network.h"
#include "espalier/run/build.h"
#include "espalier/run/checkpoint.h"
#include "espalier/run/weights_origin.h"
#include "espalier/train/evaluate.h"
#include "espalier/train/prune_event.h"
#include "espalier/util/input_file.h"
#include "espalier/util/mistakes.h"
#include "espalier/util/table.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

using Json = nlohmann::ordered_json;

/// Calls visit(number, distill) for each train stage from `first` on that has a teacher.
template <class Visit>
void for_teachers(const Config& config, size_t first, const Visit& visit) {
  for (size_t i = first; i < config.stages.size(); ++i)
    if (const auto& train = config.stages[i].train; train && train->distill) visit(i, *train->distill);
}

/// Of all parameters and buffers.
uint32_t checksum_of(Module& network) {
  uint32_t sum = 0;
  for (const Parameter* parameter : network.parameters()) {
    const Tensor value = parameter->value().to(Device::cpu);
    sum = checksum({static_cast<const std::byte*>(value.raw()), value.bytes()}, sum);
  }
  return sum;
}

}  // namespace

const std::string& teacher_name(const DistillConfig& distill) {
  return distill.teacher ? *distill.teacher : distill.teacher_stage.value();
}

std::filesystem::path teacher_file(const DistillConfig& distill, const RunFolder& folder) {
  return distill.teacher ? std::filesystem::path(*distill.teacher) : folder.model(*distill.teacher_stage);
}

void check_teacher(const Config& config, const DistillConfig& distill, Module& model) {
  const ModelConfig& ours = config.model;
  const auto graph = [&] { return Network(model, ours.input).graph; };
  const auto check = [](const auto& act, const char* before = "") {
    try {
      act();
    } catch (const Error& error) {
      fail_usage(before, error.what());
    }
  };
  if (!distill.teacher) {
    if (!distill.features.empty()) check([&] { check_features(distill.features, graph(), graph()); });
    return;
  }
  const std::string& file = *distill.teacher;
  Shape image;
  int64_t outputs = 0;
  Graph theirs;
  const auto look = [&] {
    require_file(file);
    const MetaDevice shapes_alone;
    const OpenedCheckpoint opened = open_checkpoint(file);
    image = opened.info.config.model.input;
    {
      const Inference inference(*opened.model);  // and not in a trace, which needs no op to be known
      outputs = opened.model->forward(Variable(Tensor::zeros({1, image[0], image[1], image[2]}))).shape()[-1];
    }
    theirs = Network(*opened.model, image).graph;
  };
  check(look, "distill: teacher: ");
  if (ours.input.axes() > 0 && image != ours.input)
    fail_usage("distill: teacher: ", file, " takes images of ", image, ", expected the model's ", ours.input);
  if (ours.classes > 0 && outputs != ours.classes)
    fail_usage("distill: teacher: ", file, " has ", outputs, " ", plural(outputs, "output"),
               ", expected one for each of the model's ", ours.classes, " classes");
  if (!distill.features.empty()) check([&] { check_features(distill.features, graph(), theirs); });
}

void check_classes_of_teachers(const Config& config, size_t first, const Dataset& data,
                               const std::string& place, Mistakes& mistakes) {
  for_teachers(config, first, [&](size_t i, const DistillConfig& distill) {
    const std::string pointer = join("/stages/", i);
    if (!distill.teacher || !mistakes.spare(pointer)) return;
    mistakes.attempt(pointer, [&] {
      if (const auto info = weights_info(*distill.teacher))
        check_classes(*distill.teacher, info->classes, config, data, place);
    });
  });
}

std::vector<std::string> warnings_of_teachers(const Config& config, size_t first) {
  std::vector<std::string> warnings;
  for_teachers(config, first, [&](size_t i, const DistillConfig& distill) {
    if (!distill.teacher) return;
    if (const std::string warning = normalization_warning(config, *distill.teacher); !warning.empty())
      warnings.push_back(join("stage '", config.stages[i].name, "': teacher: ", warning));
  });
  return warnings;
}

void check_teachers_left(const Config& config, size_t stage, const RunFolder& folder) {
  for_teachers(config, stage, [&](size_t i, const DistillConfig& distill) {
    if (!distill.teacher_stage) return;
    const auto before = config.stages.begin() + static_cast<std::ptrdiff_t>(stage);
    const bool is_done = std::any_of(config.stages.begin(), before, [&](const StageConfig& one) {
      return one.name == *distill.teacher_stage;
    });
    const std::filesystem::path file = teacher_file(distill, folder);
    if (is_done && !std::filesystem::exists(file))
      fail_usage(file.string(), ": is missing, from which stage '", config.stages[i].name,
                 "' is to learn; another run makes it again (--output DIR writes elsewhere)");
  });
}

std::unique_ptr<Module> planned_teacher(const Config& config, const DistillConfig& distill,
                                        const std::vector<AxisCut>& cuts) {
  if (distill.teacher) return open_checkpoint(*distill.teacher).model;
  auto network = build_model(config);
  cut(*network, cuts);
  return network;
}

std::unique_ptr<FeatureMaps> make_maps(const Config& config, size_t stage, Module& network, Module& teacher) {
  const TrainConfig& train = config.stages[stage].train.value();
  const auto& features = train.distill.value().features;
  if (features.empty()) return nullptr;
  const bool is_cut = train.prune && cuts_channels(*train.prune);
  return std::make_unique<FeatureMaps>(features, network, teacher, config.model.input, is_cut,
                                       stage_key(config, stage));
}

Distillation::Distillation(const Config& config, size_t stage, Module& network,
                           std::unique_ptr<Module> teacher, const Loss& own_loss, int64_t batch)
    : teacher_(std::move(teacher), batch),
      maps_(make_maps(config, stage, network, teacher_.network())),
      loss_(own_loss, teacher_, *config.stages[stage].train->distill, maps_.get()) {}

DistillCallback::DistillCallback(const DistillConfig& config, Distillation& distillation, const Shape& input,
                                 Loader& test, Console& console)
    : distillation_(distillation),
      teacher_(distillation.teacher()),
      input_(input),
      test_(test),
      console_(console),
      checksum_(checksum_of(teacher_.network())),
      result_{.name = teacher_name(config)} {}

void DistillCallback::after_step(TrainState& s) {
  if (FeatureMaps* maps = distillation_.maps()) maps->follow(s.model.history);
}

void DistillCallback::on_stage_begin(TrainState& s) {
  result_.macs = Network(teacher_.network(), input_).totals.macs;
  if (!is_known_) result_.accuracy = evaluate(teacher_.network(), test_, {.loss = s.loss_function}).accuracy;
  is_known_ = true;
  if (test_.device() != Device::cpu && distillation_.asks()) image_seconds_ = teacher_.image_seconds(input_);
  const double times = static_cast<double>(result_.macs) / static_cast<double>(std::max<int64_t>(s.macs, 1));
  console_.line(fmt::format("{}  learns from {}: test {:.2f} %, {} MACs, {:.2f}x the network's", s.stage,
                            printable(result_.name, 1000), result_.accuracy, grouped(result_.macs), times));
}

double DistillCallback::seconds(const TrainState& s) const {
  if (test_.device() == Device::cpu) return before_ + teacher_.seconds();
  return image_seconds_ * static_cast<double>(s.position.trained_images);
}

void DistillCallback::on_stage_end(TrainState& s) {
  if (s.position.train_seconds > 0) result_.time_share = seconds(s) / s.position.train_seconds;
  console_.line(fmt::format("{}  the teacher took {:.1f} % of the time of training", s.stage,
                            100 * result_.time_share));
}

Json DistillCallback::state(const TrainState& s) {
  return {{"seconds", seconds(s)}, {"accuracy", result_.accuracy}, {"checksum", checksum_}};
}

void DistillCallback::restore(const Json& state, const std::string& place) {
  before_ = json_field<double>(state, "seconds", place);
  result_.accuracy = json_field<double>(state, "accuracy", place);
  is_known_ = true;
  ESP_CHECK(json_count(state, "checksum", place) == checksum_, printable(result_.name, 1000),
            ": is another network than the one that this stage has learned from so far; with that the run "
            "goes on, and without --resume another begins");
}

}  // namespace espalier
