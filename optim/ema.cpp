#include "espalier/optim/ema.h"

#include <utility>

#include "espalier/core/kernels.h"

namespace espalier {
namespace {

constexpr const char* average = "average";

}  // namespace

void start_average(const std::vector<Parameter*>& parameters) {
  for (Parameter* parameter : parameters)
    if (parameter->learned() && !parameter->frozen()) parameter->state[average] = parameter->value().clone();
}

void update_average(const std::vector<Parameter*>& parameters, double decay) {
  std::vector<UpdateSpan> spans;
  for (Parameter* parameter : parameters)
    if (const auto found = parameter->state.find(average); found != parameter->state.end())
      spans.push_back({.w = parameter->value().f32(),
                       .g = nullptr,
                       .mask = nullptr,
                       .slot0 = found->second.f32(),
                       .slot1 = nullptr,
                       .n = parameter->value().elements()});
  ESP_RUN(device_of(parameters),
          ema_update(spans.data(), static_cast<int64_t>(spans.size()), static_cast<float>(decay)));
}

void drop_average(const std::vector<Parameter*>& parameters) {
  for (Parameter* parameter : parameters) parameter->state.erase(average);
}

void AverageInPlace::swap() {
  for (Parameter* parameter : parameters_)
    if (const auto found = parameter->state.find(average); found != parameter->state.end())
      std::swap(parameter->value(), found->second);
}

}  // namespace espalier
