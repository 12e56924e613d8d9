#include "espalier/optim/ema.h"

#include <utility>

#include "espalier/core/kernels.h"

namespace espalier {

void start_average(const std::vector<Parameter*>& parameters) {
  for (Parameter* parameter : parameters)
    if (parameter->learned() && !parameter->frozen()) parameter->average = parameter->value().clone();
}

void update_average(const std::vector<Parameter*>& parameters, double decay) {
  std::vector<UpdateSpan> spans;
  for (Parameter* parameter : parameters)
    if (parameter->average.defined())
      spans.push_back({.w = parameter->value().f32(),
                       .g = nullptr,
                       .mask = nullptr,
                       .slot0 = parameter->average.f32(),
                       .slot1 = nullptr,
                       .n = parameter->value().elements()});
  ESP_RUN(device_of(parameters),
          ema_update(spans.data(), static_cast<int64_t>(spans.size()), static_cast<float>(decay)));
}

void drop_average(const std::vector<Parameter*>& parameters) {
  for (Parameter* parameter : parameters) parameter->average = Tensor();
}

void AverageInPlace::swap() {
  for (Parameter* parameter : parameters_)
    if (parameter->average.defined()) std::swap(parameter->value(), parameter->average);
}

}  // namespace espalier
