#include "espalier/prune/straight_through.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "espalier/core/kernels.h"
#include "espalier/prune/select.h"

namespace espalier {
namespace {

constexpr const char* unmasked_reach = "unmasked_reach";

/// Calls act(weight, its state of that name) for those that have it.
template <class Act>
void each_with(const std::vector<Parameter*>& weights, const char* name, const Act& act) {
  for (Parameter* weight : weights)
    if (const auto found = weight->state.find(name); found != weight->state.end())
      act(*weight, found->second);
}

void follow(Parameter& weight, const Tensor& unmasked) {
  Tensor& value = weight.value();
  ESP_RUN(value.device(), copy_bytes(value.raw(), unmasked.raw(), value.bytes()));
  if (weight.mask.defined())
    ESP_RUN(value.device(), apply_mask(value.f32(), weight.mask.data<uint8_t>(), value.elements()));
}

/// Sets to 0 what is not reached.
void keep_reached(Tensor& numbers, const Tensor& reach) {
  constexpr float least = 0.5f, most = std::numeric_limits<float>::max();  // of what is reached: 1 and more
  ESP_RUN(numbers.device(),
          clip_backward(numbers.f32(), numbers.f32(), reach.f32(), least, most, numbers.elements(), false));
}

/// The places of the largest |w|: the first `in_use` of them, and after these the next, up to `reached`.
std::vector<int64_t> largest(const float* w, int64_t n, int64_t in_use, int64_t reached) {
  std::vector<int64_t> places(static_cast<size_t>(n));
  std::iota(places.begin(), places.end(), int64_t{0});
  const auto larger = [w](int64_t a, int64_t b) {
    const float of_a = std::abs(w[a]), of_b = std::abs(w[b]);
    return of_a > of_b || (of_a == of_b && a < b);
  };
  if (reached < n) std::nth_element(places.begin(), places.begin() + reached, places.end(), larger);
  places.resize(static_cast<size_t>(reached));
  if (in_use < reached) std::nth_element(places.begin(), places.begin() + in_use, places.end(), larger);
  return places;
}

/// A choice on the host: which are in use, which are reached.
struct Choice {
  Tensor mask, reach;
  int64_t in_use = 0, changed = 0;  // changed: in use now, and not before
};

Choice choose(const Parameter& weight, const Tensor& unmasked, const std::optional<Explored>& explored) {
  const Tensor values = unmasked.to(Device::cpu), before = weight.mask.to(Device::cpu);
  const float* const w = values.f32();
  const int64_t n = values.elements();
  for (int64_t i = 0; i < n; ++i)
    ESP_CHECK(std::isfinite(w[i]), "regrow: ", weight.name, ": weight ", i, " is ", w[i],
              ", expected a finite number");
  Choice choice;
  choice.in_use = before.defined() ? std::ranges::count(before.span<uint8_t>(), 1) : n;
  const int64_t train =
      explored ? std::max(choice.in_use, n - share_count(explored->backward_sparsity, n)) : choice.in_use;
  const std::vector<int64_t> places = largest(w, n, choice.in_use, train);
  choice.mask = Tensor::zeros(weight.shape(), DType::u8);
  choice.reach = explored ? Tensor::zeros(weight.shape()) : Tensor();
  const float only_train = static_cast<float>(n) / static_cast<float>(std::max<int64_t>(choice.in_use, 1));
  for (size_t k = 0; k < places.size(); ++k) {
    const int64_t i = places[k];
    const bool used = static_cast<int64_t>(k) < choice.in_use;
    if (used) choice.mask.data<uint8_t>()[i] = 1;
    if (used && before.defined()) choice.changed += !before.data<uint8_t>()[i];
    if (explored) choice.reach.f32()[i] = used ? 1.0f : only_train;
  }
  return choice;
}

}  // namespace

void start_unmasked(const std::vector<Parameter*>& weights) {
  for (Parameter* weight : weights) weight->state[unmasked_value] = weight->value().clone();
}

void check_unmasked(const std::vector<Parameter*>& weights) {
  for (const Parameter* weight : weights)
    ESP_CHECK(weight->state_of(unmasked_value).defined(), "holds no ", unmasked_value, " of ", weight->name,
              ", by which this stage trains");
}

void follow_unmasked(const std::vector<Parameter*>& weights) { each_with(weights, unmasked_value, follow); }

Regrown choose_masks(const std::vector<Parameter*>& weights, const std::optional<Explored>& explored) {
  Regrown result;
  std::vector<Choice> choices;
  each_with(weights, unmasked_value, [&](Parameter& weight, Tensor& unmasked) {
    const Device device = weight.value().device();
    Choice& choice = choices.emplace_back(choose(weight, unmasked, explored));
    choice.mask = choice.mask.to(device);
    if (explored) choice.reach = choice.reach.to(device);
    if (weight.mask.defined())
      result.layers.push_back({.name = std::string(layer_name(weight.name)),
                               .weights = unmasked.elements(),
                               .active = choice.in_use,
                               .dropped = choice.changed,
                               .grown = choice.changed});
  });
  auto choice = choices.begin();  // nothing fails from here on
  each_with(weights, unmasked_value, [&](Parameter& weight, Tensor& unmasked) {
    if (weight.mask.defined()) weight.mask = std::move(choice->mask);
    follow(weight, unmasked);
    for (auto& [name, tensor] : weight.state) {
      if (use_of(name) == TensorUse::stand_in && weight.mask.defined())
        ESP_RUN(tensor.device(), apply_mask(tensor.f32(), weight.mask.data<uint8_t>(), tensor.elements()));
      if (use_of(name) == TensorUse::optimizer && explored) keep_reached(tensor, choice->reach);
    }
    if (explored) weight.state[unmasked_reach] = std::move(choice->reach);
    ++choice;
  });
  return result;
}

void start_reach(const std::vector<Parameter*>& weights) {
  for (Parameter* weight : weights) {
    Tensor& reach = weight->state[unmasked_reach];
    reach = Tensor::full(weight->shape(), 1.0f, weight->value().device());
  }
}

void keep_reached_gradients(const std::vector<Parameter*>& weights) {
  each_with(weights, unmasked_reach, [](Parameter& weight, const Tensor& reach) {
    if (weight.gradient().defined()) keep_reached(weight.gradient(), reach);
  });
}

void decay_reached(const std::vector<Parameter*>& weights, double rate) {
  if (rate == 0) return;
  each_with(weights, unmasked_reach, [&](Parameter& weight, const Tensor& reach) {
    Tensor& unmasked = weight.state.at(unmasked_value);
    Tensor pull = unmasked.like(unmasked.shape());
    const int64_t n = unmasked.elements();
    ESP_RUN(pull.device(), mul(pull.f32(), reach.f32(), unmasked.f32(), n, false));
    ESP_RUN(pull.device(), scale(unmasked.f32(), pull.f32(), static_cast<float>(-rate), n, true));
  });
}

}  // namespace espalier
