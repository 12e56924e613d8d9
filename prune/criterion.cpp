#include "espalier/prune/criterion.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>

#include "espalier/core/kernels.h"
#include "espalier/core/parallel.h"
#include "espalier/core/random.h"
#include "espalier/prune/names.h"

namespace espalier {
namespace {

// What a number of a unit adds to the unit's sum; g2 and h are 0 where a criterion does not look at them.
double magnitude(double w, double, double) { return std::abs(w); }
double square(double w, double, double) { return w * w; }
double first_order(double w, double g2, double) { return w * w * g2; }
double second_order(double w, double, double h) { return w * w * h / 2; }

// What is made of the sum.
double same(double sum) { return sum; }
double square_root(double sum) { return std::sqrt(sum); }

/// score of a unit = finish(sum over its numbers of term(w, g2, h)). In double precision: no square
/// underflows, and for a single weight l1 and l2 are both exactly |w|.
template <double (*term)(double w, double g2, double h), double (*finish)(double)>
void sum_over_unit(std::span<float> scores, const Evidence& evidence) {
  const auto& [w, size, key, first, g2, h] = evidence;
  for (size_t unit = 0, i = 0; unit < scores.size(); ++unit) {
    double sum = 0;
    for (const size_t end = i + static_cast<size_t>(size); i != end; ++i)
      sum += term(w[i], g2 ? g2[i] : 0.0f, h ? h[i] : 0.0f);
    scores[unit] = static_cast<float>(finish(sum));
  }
}

void random_score(std::span<float> scores, const Evidence& evidence) {
  for (size_t i = 0; i < scores.size(); ++i)
    scores[i] = random_uniform(evidence.key, static_cast<uint64_t>(evidence.first) + i);
}

/// Squared distance of two rows, by lanes that a compiler keeps in a vector.
double squared_distance(const float* a, const float* b, int64_t size) {
  constexpr int lanes = 16;
  float sums[lanes] = {};
  int64_t i = 0;
  for (; i + lanes <= size; i += lanes)
    for (int lane = 0; lane < lanes; ++lane)
      sums[lane] += (a[i + lane] - b[i + lane]) * (a[i + lane] - b[i + lane]);
  double sum = std::accumulate(sums, sums + lanes, 0.0);
  for (; i < size; ++i) sum += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  return sum;
}

/// score of unit i = sum over the layer's units j of ||w_i - w_j||: what is near to all others can be
/// replaced by them.
void distances(std::span<float> scores, const Evidence& evidence) {
  const auto units = static_cast<int64_t>(scores.size());
  parallel_for(units, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      double sum = 0;
      for (int64_t j = 0; j < units; ++j)
        sum += std::sqrt(
            squared_distance(evidence.w + i * evidence.size, evidence.w + j * evidence.size, evidence.size));
      scores[static_cast<size_t>(i)] = static_cast<float>(sum);
    }
  });
}

/// s_i becomes s_i / (the sum of s_i and of all that go after it, in ascending order, ties by index): the
/// layer's last is 1, so that none is emptied.
void share_of_the_rest(std::span<float> scores) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] < scores[b]; });
  double rest = 0;
  for (size_t rank = order.size(); rank-- > 0;) {
    float& score = scores[order[rank]];
    rest += score;
    score = rest > 0 ? static_cast<float>(score / rest) : 0.0f;
  }
}

constexpr Criterion table[] = {
    {.name = "random",
     .help = "uniform on 0..1, from the seed: the baseline that every other criterion has to beat",
     .paper =
         "Blalock, Gonzalez Ortiz, Frankle, Guttag: What is the State of Neural Network Pruning? MLSys 2020",
     .score = random_score,
     .voices = Voices::nothing,
     .normalizer = Normalizer::none},
    {.name = "l1",
     .help = "sum of |w| over the unit; of a single weight, its magnitude",
     .paper = "weights: Han, Pool, Tran, Dally: Learning both Weights and Connections for Efficient Neural "
              "Networks, NIPS 2015; filters: Li, Kadav, Durdanovic, Samet, Graf: Pruning Filters for "
              "Efficient ConvNets, ICLR 2017",
     .score = sum_over_unit<magnitude, same>},
    {.name = "l2",
     .help = "square root of the sum of w^2 over the unit; of a single weight, its magnitude",
     .paper = "He, Kang, Dong, Fu, Yang: Soft Filter Pruning for Accelerating Deep Convolutional Neural "
              "Networks, IJCAI 2018",
     .score = sum_over_unit<square, square_root>},
    {.name = "group_norm",
     .help = "sum of w^2 over the unit: over all that goes with a coupled channel, layer by layer",
     .paper = "Fang, Ma, Song, Mi, Wang: DepGraph: Towards Any Structural Pruning, CVPR 2023",
     .score = sum_over_unit<square, same>},
    {.name = "lamp",
     .help = "w^2 over the sum of all w^2 of its layer that are not lower; of a unit, its sums of w^2",
     .paper = "Lee, Park, Mo, Ahn, Shin: Layer-adaptive Sparsity for the Magnitude-based Pruning, ICLR 2021",
     .score = sum_over_unit<square, same>,
     .relate = share_of_the_rest,
     .normalizer = Normalizer::none},
    {.name = "bn_scale",
     .help = "|gamma| of the batch norms behind a coupled channel, ranked over all layers as they are; unit "
             "channel alone",
     .paper = "Liu, Li, Shen, Huang, Yan, Zhang: Learning Efficient Convolutional Networks through Network "
              "Slimming, ICCV 2017",
     .score = sum_over_unit<magnitude, same>,
     .voices = Voices::scales,
     .normalizer = Normalizer::none},
    {.name = "fpgm",
     .help = "sum of the distances to the layer's other filters: what is near the middle goes; of a channel, "
             "by the weights that make it",
     .paper = "He, Liu, Wang, Hu, Yang: Filter Pruning via Geometric Median for Deep Convolutional Neural "
              "Networks Acceleration, CVPR 2019",
     .score = distances,
     .together = true,
     .voices = Voices::makers},
    {.name = "taylor",
     .help =
         "sum of (w dL/dw)^2 over the unit, the mean over batches: the square of what the loss changes by, "
         "to first order; unit channel alone",
     .paper = "Molchanov, Mallya, Tyree, Frosio, Kautz: Importance Estimation for Neural Network Pruning, "
              "CVPR 2019",
     .score = sum_over_unit<first_order, same>,
     .looks = Looks::at_gradients,
     .batches = 10},
    {.name = "obd",
     .help = "sum of w^2 h / 2 over the unit, h the mean square of single images' dL/dw (the Fisher "
             "information's diagonal); unit channel alone",
     .paper = "LeCun, Denker, Solla: Optimal Brain Damage, NIPS 1989; Theis, Korshunova, Tejani, Huszar: "
              "Faster gaze prediction with dense networks and Fisher pruning, 2018",
     .score = sum_over_unit<second_order, same>,
     .looks = Looks::at_curvature,
     .batches = 128},
};

}  // namespace

uint64_t score_key(uint64_t seed) {
  constexpr uint64_t score_stream = 0x73636F7265;  // "score"
  return random_key(seed, score_stream);
}

std::span<const Criterion> criteria() { return table; }

std::vector<std::string> criterion_names() {
  std::vector<std::string> names;
  for (const Criterion& criterion : table) names.emplace_back(criterion.name);
  return names;
}

const Criterion& criterion_named(const std::string& name) {
  return table[position_of_name("criterion", name, criterion_names())];
}

const std::vector<std::string>& normalizer_names() {
  static const std::vector<std::string> names = {"none", "mean", "max", "standardize"};
  return names;
}

Normalizer normalizer_named(const std::string& name) {
  return static_cast<Normalizer>(position_of_name("normalizer", name, normalizer_names()));
}

void normalize(std::span<float> scores, Normalizer normalizer) {
  float min = std::numeric_limits<float>::infinity(), max = -min;
  double sum = 0;
  int64_t count = 0;
  for (const float score : scores) {
    if (score == pruned_score) continue;
    min = std::min(min, score);
    max = std::max(max, score);
    sum += score;
    ++count;
  }
  if (normalizer == Normalizer::none || count == 0) return;
  float offset = 0, scale = max;
  if (normalizer == Normalizer::mean) scale = static_cast<float>(sum / static_cast<double>(count));
  if (normalizer == Normalizer::standardize) offset = min, scale = max - min;
  if (scale == 0) scale = 1;  // all are equal
  for (float& score : scores)
    if (score != pruned_score) score = (score - offset) / scale;
}

const float* Signals::of(const Criterion& criterion, const Parameter& parameter, Looks looks) const {
  if (criterion.looks != looks) return nullptr;
  const auto found = tensors.find(&parameter);
  ESP_CHECK(found != tensors.end() && found->second.shape() == parameter.shape(), "prune: ", criterion.name,
            " has no ", looks == Looks::at_gradients ? "gradient" : "curvature", " of ", parameter.name);
  return found->second.f32();
}

Tensor score_units(const UnitSet& units, const Criterion& criterion, uint64_t seed) {
  constexpr int64_t grain = 16384;  // numbers a thread should at least have
  const uint64_t key = score_key(seed);
  if (criterion.of_channels_alone())
    fail_usage("prune: criterion ", criterion.name, " scores channels alone: expected unit channel");
  Tensor scores = Tensor::empty({units.count});
  for (const LayerUnits& layer : units.layers) {
    float* const layer_scores = scores.f32() + layer.first;
    const Tensor weights = layer.parameter->value().to(Device::cpu),
                 mask = layer.parameter->mask.to(Device::cpu);
    const float* const w = weights.f32();
    const auto score = [&](int64_t begin, int64_t end) {
      criterion.score(
          {layer_scores + begin, layer_scores + end},
          {.w = w + begin * layer.size, .size = layer.size, .key = key, .first = layer.first + begin});
    };
    if (criterion.together)
      score(0, layer.count);
    else
      parallel_for(layer.count, grain / std::max<int64_t>(layer.size, 1), score);
    const float* const strange =
        std::find_if(layer_scores, layer_scores + layer.count, [](float s) { return !std::isfinite(s); });
    const int64_t broken = strange == layer_scores + layer.count ? -1 : strange - layer_scores;
    ESP_CHECK(broken < 0, layer.parameter->name, ": unit ", broken, " scores ", layer_scores[broken], " by ",
              criterion.name, ", expected a finite score");
    if (criterion.relate) criterion.relate({layer_scores, layer_scores + layer.count});
    if (!mask.defined()) continue;
    const uint8_t* const kept = mask.span<uint8_t>().data();
    parallel_for(layer.count, grain / std::max<int64_t>(layer.size, 1), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        if (layer.pruned(kept, i)) layer_scores[i] = pruned_score;
    });
  }
  return scores;
}

}  // namespace espalier
