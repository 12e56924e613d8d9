#include "espalier/prune/regrow.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "espalier/core/kernels.h"
#include "espalier/core/random.h"
#include "espalier/util/spelling.h"

namespace espalier {
namespace {

constexpr const char* gradient_average = "unmasked_gradient";

// --- What grows ---

void by_chance(std::span<float> scores, const GrowInputs& inputs) {
  for (size_t i = 0; i < scores.size(); ++i) scores[i] = random_uniform(inputs.key, i);
}

void by_gradient(std::span<float> scores, const GrowInputs& inputs) {
  for (size_t i = 0; i < scores.size(); ++i) scores[i] = std::abs(inputs.gradient[i]);
}

void by_average(std::span<float> scores, const GrowInputs& inputs) {
  for (size_t i = 0; i < scores.size(); ++i) scores[i] = std::abs(inputs.average[i]);
}

}  // namespace

Registry<RegrowthInfo>& regrowths() {
  static Registry<RegrowthInfo> all(
      "regrow",
      {{.name = "set",
        .help = "any others grow, drawn at random, after the step's update",
        .paper = "Mocanu, Mocanu, Stone, Nguyen, Gibescu, Liotta: Scalable training of artificial neural "
                 "networks with adaptive sparse connectivity inspired by network science, Nature "
                 "Communications 2018",
        .options = {"share", "min_share", "anneal"},
        .grow = by_chance},
       {.name = "rigl",
        .help = "those with the largest gradients grow, in place of the step's update",
        .paper = "Evci, Gale, Menick, Castro, Elsen: Rigging the Lottery: Making All Tickets Winners, ICML "
                 "2020; with a prune schedule beside it Liu et al.: Sparse Training via Boosting Pruning "
                 "Plasticity with Neuroregeneration, NeurIPS 2021 (GraNet)",
        .options = {"share", "min_share", "anneal"},
        .grow = by_gradient,
        .needs = GrowNeeds::gradient,
        .replaces_update = true},
       {.name = "sparse_momentum",
        .help = "those with the largest moving average of gradients grow, most in the layers where those of "
                "active weights are the largest, after the step's update",
        .paper = "Dettmers, Zettlemoyer: Sparse Networks from Scratch: Faster Training without Losing "
                 "Performance, 2019",
        .options = {"share", "min_share", "anneal", "momentum"},
        .grow = by_average,
        .needs = GrowNeeds::average,
        .rounds_up = true,
        .redistributes = true,
        .share = 0.5,
        .min_share = 0.005,
        .end = 1.0,
        .in = "epochs"},
       {.name = "straight_through",
        .help = "all weights train; the network computes with the largest of each layer",
        .paper = "Bengio, Leonard, Courville: Estimating or Propagating Gradients Through Stochastic Neurons "
                 "for Conditional Computation, 2013; as in Lee et al.: JaxPruner, CPAL 2024",
        .trains = Trains::all,
        .end = 1.0,
        .every = 1},
       {.name = "top_kast",
        .help = "the network computes with the largest weights of each layer; these and the next largest "
                "train",
        .paper = "Jayakumar, Pascanu, Rae, Osindero, Elsen: Top-KAST: Top-K Always Sparse Training, NeurIPS "
                 "2020",
        .extra = {{.name = "backward_sparsity",
                   .help = "share of each layer's weights that do not train, below that of those that are "
                           "not computed with",
                   .value = 0.5,
                   .from = 0,
                   .to = 1},
                  {.name = "weight_decay",
                   .help =
                       "pull at the weights that train, apart from the gradient as adamw's; at those that "
                       "are not computed with it is divided by the layer's density",
                   .value = 1e-4,
                   .from = 0}},
        .trains = Trains::explored,
        .end = 1.0,
        .every = 1}});
  return all;
}

// --- When, and how much ---

double RegrowSchedule::share_at(int64_t step) const {
  if (anneal == "constant" || end <= begin) return share;
  const double rest =
      static_cast<double>(end - std::clamp(step, begin, end)) / static_cast<double>(end - begin);
  const PruneScheduleInfo& curve = prune_schedules().named(anneal);
  return min_share + (share - min_share) *
                         curve.left(rest, ExtraOptions().with_defaults(curve.extra, "anneal " + curve.name));
}

std::vector<std::string> anneal_names() {
  std::vector<std::string> names =
      prune_schedules().names_where([](const PruneScheduleInfo& row) { return row.left != nullptr; });
  names.insert(names.begin(), "constant");
  return names;
}

void check(const RegrowSchedule& s) {
  if (s.begin < 0) fail_usage("regrow: begins at step ", s.begin, ", expected 0 or later");
  if (s.end < s.begin)
    fail_usage("regrow: ends at step ", s.end, ", before it begins at step ", s.begin,
               "; 'end' says when it is to");
  if (s.every < 1) fail_usage("regrow: acts every ", s.every, " steps, expected 1 or more");
  if (!(s.share >= 0 && s.share <= 1)) fail_usage("regrow: share is ", s.share, ", expected 0..1");
  if (!(s.min_share >= 0 && s.min_share <= s.share))
    fail_usage("regrow: min_share is ", s.min_share, ", expected 0 to share: ", s.share);
  position_of_name("anneal", s.anneal, anneal_names());
}

// --- How many ---

int64_t drop_count(double share, int64_t active, bool rounds_up) {
  const double exact = share * static_cast<double>(active);
  if (rounds_up)
    return std::clamp<int64_t>(static_cast<int64_t>(std::ceil(exact * (1 - 1e-12))), 0,
                               std::max<int64_t>(active - 1, 0));
  return std::min(active, static_cast<int64_t>(exact * (1 + 1e-12)));
}

namespace {

/// 0.99 of each room; the whole of it where that is too little.
std::vector<int64_t> limits_of(int64_t total, std::span<const int64_t> room) {
  std::vector<int64_t> limits;
  for (const int64_t one : room)
    limits.push_back(static_cast<int64_t>(0.99 * static_cast<double>(one) * (1 + 1e-12)));
  if (std::accumulate(limits.begin(), limits.end(), int64_t{0}) < total)
    limits.assign(room.begin(), room.end());
  return limits;
}

/// What exceeds a limit goes, in equal parts, to those that are below theirs.
void spread_overflow(std::vector<double>& quotas, const std::vector<int64_t>& limits) {
  for (double overflow = 1; overflow > 1e-9;) {
    overflow = 0;
    size_t open = 0;
    for (size_t l = 0; l < quotas.size(); ++l) {
      const auto limit = static_cast<double>(limits[l]);
      if (quotas[l] >= limit) {
        overflow += quotas[l] - limit;
        quotas[l] = limit;
      } else {
        ++open;
      }
    }
    if (open == 0) return;
    for (size_t l = 0; l < quotas.size(); ++l)
      if (quotas[l] < static_cast<double>(limits[l])) quotas[l] += overflow / static_cast<double>(open);
  }
}

}  // namespace

std::vector<int64_t> distribute(int64_t total, std::span<const double> shares,
                                std::span<const int64_t> otherwise, std::span<const int64_t> room) {
  const std::vector<int64_t> limits = limits_of(total, room);
  ESP_CHECK(std::accumulate(limits.begin(), limits.end(), int64_t{0}) >= total, "regrow: ", total,
            " weights are to grow, and there is no room for as many");
  const double all = std::accumulate(shares.begin(), shares.end(), 0.0);
  const double all_otherwise = static_cast<double>(
      std::max<int64_t>(std::accumulate(otherwise.begin(), otherwise.end(), int64_t{0}), 1));
  std::vector<double> quotas;
  for (size_t l = 0; l < shares.size(); ++l)
    quotas.push_back(static_cast<double>(total) *
                     (all > 0 ? shares[l] / all : static_cast<double>(otherwise[l]) / all_otherwise));
  spread_overflow(quotas, limits);
  std::vector<int64_t> parts;
  for (size_t l = 0; l < quotas.size(); ++l)
    parts.push_back(std::min(limits[l], static_cast<int64_t>(quotas[l] + 1e-9)));
  std::vector<size_t> by_rest(quotas.size());
  std::iota(by_rest.begin(), by_rest.end(), size_t{0});
  std::ranges::stable_sort(by_rest, std::greater(),
                           [&](size_t l) { return quotas[l] - static_cast<double>(parts[l]); });
  int64_t left = total - std::accumulate(parts.begin(), parts.end(), int64_t{0});
  while (left > 0)
    for (const size_t l : by_rest)
      if (left > 0 && parts[l] < limits[l]) {
        ++parts[l];
        --left;
      }
  return parts;
}

// --- The move ---

namespace {

/// A layer as the host sees it.
struct HostLayer {
  Parameter& weight;
  Tensor values, mask, gradient, average;
  int64_t active;
  int64_t dropped = 0, grown = 0;
  Tensor kept = {}, moved = {};  // masks: without what drops, and with what grows

  HostLayer(const RegrowLayer& layer, const RegrowthInfo& method)
      : weight(*layer.weight),
        values(weight.value().to(Device::cpu)),
        mask(weight.mask.to(Device::cpu)),
        gradient(method.needs == GrowNeeds::gradient ? layer.gradient.to(Device::cpu) : Tensor()),
        average(method.needs == GrowNeeds::average ? weight.state_of(gradient_average).to(Device::cpu)
                                                   : Tensor()),
        active(std::ranges::count(mask.span<uint8_t>(), 1)) {
    ESP_CHECK(method.needs != GrowNeeds::gradient || gradient.defined(), "regrow: ", weight.name,
              ": has no gradient");
    ESP_CHECK(method.needs != GrowNeeds::average || average.defined(), "regrow: ", weight.name,
              ": has no moving average of gradients");
  }
  int64_t weights() const { return mask.elements(); }
  double sparsity() const { return static_cast<double>(weights() - active) / static_cast<double>(weights()); }
  void fail_not_finite(size_t place, const char* what, float value) const {
    fail("regrow: ", weight.name, ": the ", what, " of weight ", place, " is ", value,
         ", expected a finite number");
  }
};

std::span<const float> numbers_of(const Tensor& tensor) {
  return tensor.defined() ? tensor.span<float>() : std::span<const float>();
}

/// `count` of `places`, those that come `before` the others; two never come before each other.
template <class Before>
std::span<const int64_t> first_of(std::vector<int64_t>& places, int64_t count, const Before& before) {
  if (count < static_cast<int64_t>(places.size()))
    std::nth_element(places.begin(), places.begin() + count, places.end(), before);
  return std::span<const int64_t>(places).first(static_cast<size_t>(count));
}

std::vector<int64_t> places_where(const Tensor& mask, uint8_t is) {
  std::vector<int64_t> places;
  const auto flags = mask.span<uint8_t>();
  for (size_t i = 0; i < flags.size(); ++i)
    if (flags[i] == is) places.push_back(static_cast<int64_t>(i));
  return places;
}

void choose_dropped(HostLayer& layer) {
  const float* const w = layer.values.f32();
  std::vector<int64_t> active = places_where(layer.mask, 1);
  for (const int64_t i : active)
    if (!std::isfinite(w[i])) layer.fail_not_finite(static_cast<size_t>(i), "value", w[i]);
  layer.kept = layer.mask.clone();
  const auto smaller = [w](int64_t a, int64_t b) {
    const float of_a = std::abs(w[a]), of_b = std::abs(w[b]);
    return of_a < of_b || (of_a == of_b && a < b);
  };
  for (const int64_t i : first_of(active, layer.dropped, smaller)) layer.kept.data<uint8_t>()[i] = 0;
}

void choose_grown(HostLayer& layer, const RegrowthInfo& method, uint64_t key) {
  std::vector<float> scores(static_cast<size_t>(layer.weights()));
  method.grow(scores, {numbers_of(layer.gradient), numbers_of(layer.average), key});
  std::vector<int64_t> masked = places_where(layer.kept, 0);
  for (const int64_t i : masked)
    if (const float score = scores[static_cast<size_t>(i)]; !std::isfinite(score))
      layer.fail_not_finite(static_cast<size_t>(i), "score", score);
  layer.moved = layer.kept.clone();
  const auto higher = [&](int64_t a, int64_t b) {
    const float of_a = scores[static_cast<size_t>(a)], of_b = scores[static_cast<size_t>(b)];
    return of_a > of_b || (of_a == of_b && a < b);
  };
  for (const int64_t i : first_of(masked, layer.grown, higher)) layer.moved.data<uint8_t>()[i] = 1;
}

/// The mean of |average| of the active weights; 0 of none.
double mean_average(const HostLayer& layer) {
  const float* const average = layer.average.f32();
  const uint8_t* const mask = layer.mask.data<uint8_t>();
  double sum = 0;
  for (int64_t i = 0; i < layer.weights(); ++i)
    if (mask[i]) sum += std::abs(static_cast<double>(average[i]));
  ESP_CHECK(std::isfinite(sum), "regrow: ", layer.weight.name, ": the moving average of its gradients is ",
            sum);
  return layer.active ? sum / static_cast<double>(layer.active) : 0.0;
}

void count_moves(std::vector<HostLayer>& layers, const RegrowthInfo& method, double share) {
  std::vector<double> shares;
  if (method.redistributes)
    for (const HostLayer& layer : layers) shares.push_back(mean_average(layer));
  const double all = std::accumulate(shares.begin(), shares.end(), 0.0);
  int64_t total = 0;
  std::vector<int64_t> dropped, room;
  for (size_t l = 0; l < layers.size(); ++l) {
    HostLayer& layer = layers[l];
    const bool fills_up = method.redistributes && layer.sparsity() < 0.2 &&
                          shares[l] * static_cast<double>(layers.size()) > all;
    layer.dropped =
        drop_count(fills_up ? std::min(share, layer.sparsity()) : share, layer.active, method.rounds_up);
    layer.grown = layer.dropped;
    total += layer.dropped;
    dropped.push_back(layer.dropped);
    room.push_back(layer.weights() - layer.active + layer.dropped);
  }
  if (!method.redistributes) return;
  const std::vector<int64_t> grown = distribute(total, shares, dropped, room);
  for (size_t l = 0; l < layers.size(); ++l) layers[l].grown = grown[l];
}

}  // namespace

std::vector<Parameter*> learning_weights(Module& model) {
  std::vector<Parameter*> weights = model.parameters();
  std::erase_if(weights, [](const Parameter* p) { return p->role != Role::weight || p->frozen(); });
  return weights;
}

Regrown::Layer Regrown::total() const {
  Layer sum{.name = "total", .weights = 0, .active = 0, .dropped = 0, .grown = 0};
  for (const Layer& layer : layers) {
    sum.weights += layer.weights;
    sum.active += layer.active;
    sum.dropped += layer.dropped;
    sum.grown += layer.grown;
  }
  return sum;
}

Regrown regrow(const std::vector<RegrowLayer>& given, const RegrowthInfo& method, double share,
               uint64_t key) {
  ESP_CHECK(method.grow, "regrow: ", method.name, " drops and grows nothing");
  std::vector<HostLayer> layers;
  for (const RegrowLayer& layer : given) layers.emplace_back(layer, method);
  count_moves(layers, method, share);
  Regrown result;
  for (size_t l = 0; l < layers.size(); ++l) {
    HostLayer& layer = layers[l];
    choose_dropped(layer);
    choose_grown(layer, method, random_key(key, l));
    result.layers.push_back({.name = std::string(layer_name(layer.weight.name)),
                             .weights = layer.weights(),
                             .active = layer.active - layer.dropped + layer.grown,
                             .dropped = layer.dropped,
                             .grown = layer.grown});
  }
  // First all masks to where the network is: memory may be short there, and then none moves.
  for (HostLayer& layer : layers)
    for (Tensor* mask : {&layer.kept, &layer.moved}) *mask = mask->to(layer.weight.value().device());
  for (HostLayer& layer : layers) {
    if (layer.dropped == 0 && layer.grown == 0) continue;
    // First without what drops: that is 0 with its state then, and if it grows again does so from there.
    layer.weight.set_mask(std::move(layer.kept));
    layer.weight.mask = std::move(layer.moved);
  }
  return result;
}

// --- The moving average of gradients ---

void start_gradient_average(const std::vector<Parameter*>& weights) {
  for (Parameter* weight : weights)
    if (Tensor& average = weight->state[gradient_average]; !average.defined())
      average = Tensor::zeros(weight->shape(), DType::f32, weight->value().device());
}

void check_gradient_average(const std::vector<Parameter*>& weights) {
  for (const Parameter* weight : weights)
    ESP_CHECK(weight->state_of(gradient_average).defined(), "holds no ", gradient_average, " of ",
              weight->name, ", by which this stage's masks move");
}

void update_gradient_average(const std::vector<Parameter*>& weights, double momentum) {
  std::vector<UpdateSpan> spans;
  for (Parameter* weight : weights)
    if (const auto found = weight->state.find(gradient_average);
        found != weight->state.end() && weight->gradient().defined())
      spans.push_back({.w = weight->gradient().f32(),
                       .g = nullptr,
                       .mask = nullptr,
                       .slot0 = found->second.f32(),
                       .slot1 = nullptr,
                       .n = weight->value().elements()});
  ESP_RUN(device_of(weights),
          ema_update(spans.data(), static_cast<int64_t>(spans.size()), static_cast<float>(momentum)));
}

void drop_unmasked(const std::vector<Parameter*>& weights) {
  for (Parameter* weight : weights) weight->drop_state(TensorUse::unmasked);
}

}  // namespace espalier
