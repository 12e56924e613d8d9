#include "espalier/optim/ema.h"

#include <utility>

#include "espalier/core/kernels.h"

namespace espalier {
namespace {

constexpr const char* average = "average";

bool is_averaged(const Parameter& parameter) { return parameter.learned() && !parameter.frozen(); }

}  // namespace

void start_average(const std::vector<Parameter*>& parameters) {
  for (Parameter* parameter : parameters)
    if (is_averaged(*parameter)) parameter->state[average] = parameter->value().clone();
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

void adopt_average(const std::vector<Parameter*>& parameters) {
  for (Parameter* parameter : parameters)
    if (auto node = parameter->state.extract(average); !node.empty())
      parameter->value() = std::move(node.mapped());
}

void check_average(const std::vector<Parameter*>& parameters, bool expected) {
  for (const Parameter* parameter : parameters) {
    const bool found = parameter->state_of(average).defined(), wanted = expected && is_averaged(*parameter);
    ESP_CHECK(found == wanted, "holds ", found ? "an" : "no", " average of ", parameter->name, ", expected ",
              wanted ? "one" : "none");
  }
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
