#include "espalier/prune/criterion.h"

#include <cmath>
#include <iterator>

#include "espalier/core/kernels.h"
#include "espalier/core/parallel.h"
#include "espalier/core/random.h"
#include "espalier/prune/names.h"

namespace espalier {
namespace {

double same(double x) { return x; }
double absolute(double x) { return std::abs(x); }
double square(double x) { return x * x; }
double square_root(double x) { return std::sqrt(x); }

/// score of a unit = finish(sum over its numbers of term(w)). In double precision: no square underflows, and
/// for a single weight l1 and l2 are both exactly |w|.
template <double (*term)(double), double (*finish)(double)>
void sum_over_unit(std::span<float> scores, const Evidence& evidence) {
  const float* w = evidence.w;
  for (float& score : scores) {
    double sum = 0;
    for (const float* end = w + evidence.size; w != end; ++w) sum += term(*w);
    score = static_cast<float>(finish(sum));
  }
}

void random_score(std::span<float> scores, const Evidence& evidence) {
  for (size_t i = 0; i < scores.size(); ++i)
    scores[i] = random_uniform(evidence.key, static_cast<uint64_t>(evidence.first) + i);
}

constexpr Criterion table[] = {
    {"random", "uniform on 0..1, from the seed: the baseline that every other criterion has to beat",
     "Blalock, Gonzalez Ortiz, Frankle, Guttag: What is the State of Neural Network Pruning? MLSys 2020",
     random_score},
    {"l1", "sum of |w| over the unit; of a single weight, its magnitude",
     "weights: Han, Pool, Tran, Dally: Learning both Weights and Connections for Efficient Neural Networks, "
     "NIPS 2015; filters: Li, Kadav, Durdanovic, Samet, Graf: Pruning Filters for Efficient ConvNets, ICLR "
     "2017",
     sum_over_unit<absolute, same>},
    {"l2", "square root of the sum of w^2 over the unit; of a single weight, its magnitude",
     "He, Kang, Dong, Fu, Yang: Soft Filter Pruning for Accelerating Deep Convolutional Neural Networks, "
     "IJCAI 2018",
     sum_over_unit<square, square_root>},
};

constexpr uint64_t score_stream = 0x73636F7265;  // "score"

}  // namespace

std::span<const Criterion> criteria() { return table; }

std::vector<std::string> criterion_names() {
  std::vector<std::string> names;
  for (const Criterion& criterion : table) names.emplace_back(criterion.name);
  return names;
}

const Criterion& criterion_named(const std::string& name) {
  return table[position_of_name("criterion", name, criterion_names())];
}

Tensor score_units(const UnitSet& units, const Criterion& criterion, uint64_t seed) {
  constexpr int64_t grain = 16384;  // numbers a thread should at least have
  const uint64_t key = random_key(seed, score_stream);
  Tensor scores = Tensor::empty({units.count});
  for (const LayerUnits& layer : units.layers) {
    float* const layer_scores = scores.f32() + layer.first;
    const float* const w = layer.parameter->value().f32();
    const auto score = [&](int64_t begin, int64_t end) {
      criterion.score(
          {layer_scores + begin, layer_scores + end},
          {.w = w + begin * layer.size, .size = layer.size, .key = key, .first = layer.first + begin});
    };
    parallel_for(layer.count, grain / std::max<int64_t>(layer.size, 1), score);
    const int64_t broken = ESP_RUN(scores.device(), first_not_finite(layer_scores, layer.count));
    ESP_CHECK(broken < 0, layer.parameter->name, ": unit ", broken, " scores ", layer_scores[broken], " by ",
              criterion.name, ", expected a finite score");
    if (!layer.parameter->mask.defined()) continue;
    parallel_for(layer.count, grain / std::max<int64_t>(layer.size, 1), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        if (layer.pruned(i)) layer_scores[i] = pruned_score;
    });
  }
  return scores;
}

}  // namespace espalier
