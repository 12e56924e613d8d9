#include "espalier/train/teacher.h"

#include <optional>

#include "espalier/core/compute_device.h"
#include "espalier/core/measure.h"
#include "espalier/core/out_of_memory.h"
#include "espalier/nn/layer_outputs.h"
#include "espalier/optim/ema.h"
#include "espalier/util/stopwatch.h"

namespace espalier {

Teacher::Teacher(std::unique_ptr<Module> network, int64_t batch)
    : network_(std::move(network)), batch_(batch) {
  const auto parameters = network_->parameters();
  adopt_average(parameters);
  for (Parameter* parameter : parameters) {
    parameter->variable.set_requires_gradient(false);
    parameter->set_tensors({{"value", parameter->value()}});
  }
  network_->set_training(false);
}

Teacher::Answers Teacher::pass(const Tensor& images, const std::vector<std::string>& layers) {
  const NoGradient off;
  std::optional<FixedWeights> fixed;
  if (images.shape()[0] == batch_)
    fixed.emplace(prepared_);
  else
    fixed.emplace();
  std::optional<LayerOutputs> seen;
  if (!layers.empty()) seen.emplace(layers);
  try {
    Answers answers{network_->forward(Variable(images)).value(), {}};
    for (size_t i = 0; i < layers.size(); ++i) answers.features.push_back((*seen)[i].value());
    return answers;
  } catch (const OutOfMemory& error) {
    throw error.asked_by("the teacher");
  }
}

Teacher::Answers Teacher::answers(const Tensor& images, const std::vector<std::string>& layers) {
  const Stopwatch watch;
  Answers answers = pass(images, layers);
  if (images.device() == Device::cpu) seconds_ += watch.seconds();
  return answers;
}

double Teacher::image_seconds(const Shape& image) {
  const Device device = device_of(network_->parameters());
  const Tensor images =
      Tensor::zeros({batch_, image[0], image[1], image[2]}, DType::f32, device).to(activation_dtype(device));
  const auto once = [&] {
    const Stopwatch watch;
    pass(images, {});
    synchronize(device);
    return watch.seconds() / static_cast<double>(batch_);
  };
  for (int i = 0; i < 2; ++i) once();
  std::vector<double> times;
  for (const Stopwatch watch; times.size() < 5 || (times.size() < 100 && watch.seconds() < 0.1);)
    times.push_back(once());
  return undisturbed(std::move(times));
}

}  // namespace espalier
