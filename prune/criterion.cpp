#include "espalier/prune/criterion.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>

#include "espalier/core/parallel.h"
#include "espalier/core/random.h"
#include "espalier/prune/compensate.h"
#include "espalier/prune/signals.h"
#include "espalier/util/spelling.h"

namespace espalier {
namespace {

// What a number of a unit adds to the unit's sum; s is the signal that the criterion needs.
double magnitude(double w, double) { return std::abs(w); }
double square(double w, double) { return w * w; }
double first_order(double w, double g2) { return w * w * g2; }
double second_order(double w, double h) { return w * w * h / 2; }
double product(double w, double s) { return w * s; }
double product_magnitude(double w, double s) { return std::abs(w * s); }
double minus_signal(double, double s) { return -s; }
double square_times(double w, double s) { return w * w * s; }

// What is made of the sum.
double same(double sum) { return sum; }
double square_root(double sum) { return std::sqrt(sum); }

/// score of a unit = finish(sum over its numbers of term(w, s)). In double precision: no square
/// underflows, and for a single weight l1 and l2 are both exactly |w|. What a row does not say that it needs
/// is not a number, so that a row which forgets to say so is found out.
template <double (*term)(double w, double s), double (*finish)(double)>
void sum_over_unit(std::span<float> scores, const ImportanceInputs& inputs) {
  const auto& [w, size, key, first, signal] = inputs;
  constexpr float none = std::numeric_limits<float>::quiet_NaN();
  for (size_t unit = 0, i = 0; unit < scores.size(); ++unit) {
    double sum = 0;
    for (const size_t end = i + static_cast<size_t>(size); i != end; ++i)
      sum += term(w[i], signal ? signal[i] : none);
    scores[unit] = static_cast<float>(finish(sum));
  }
}

void random_score(std::span<float> scores, const ImportanceInputs& inputs) {
  for (size_t i = 0; i < scores.size(); ++i) scores[i] = random_uniform(inputs.key, inputs.first + i);
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
void distances(std::span<float> scores, const ImportanceInputs& inputs) {
  const auto units = static_cast<int64_t>(scores.size());
  parallel_for(units, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      double sum = 0;
      for (int64_t j = 0; j < units; ++j)
        sum +=
            std::sqrt(squared_distance(inputs.w + i * inputs.size, inputs.w + j * inputs.size, inputs.size));
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

}  // namespace

Registry<Criterion>& criteria() {
  static Registry<Criterion> all(
      "criterion",
      {
          {.name = "random",
           .help = "uniform on 0..1, from the seed: the baseline that every other criterion has to beat",
           .paper = "Blalock, Gonzalez Ortiz, Frankle, Guttag: What is the State of Neural Network Pruning? "
                    "MLSys 2020",
           .score = random_score,
           .scored = Scored::none,
           .normalizer = Normalizer::none},
          {.name = "l1",
           .help = "sum of |w| over the unit; of a single weight, its magnitude",
           .paper =
               "weights: Han, Pool, Tran, Dally: Learning both Weights and Connections for Efficient Neural "
               "Networks, NIPS 2015; filters: Li, Kadav, Durdanovic, Samet, Graf: Pruning Filters for "
               "Efficient ConvNets, ICLR 2017",
           .score = sum_over_unit<magnitude, same>},
          {.name = "l2",
           .help = "square root of the sum of w^2 over the unit; of a single weight, its magnitude",
           .paper =
               "He, Kang, Dong, Fu, Yang: Soft Filter Pruning for Accelerating Deep Convolutional Neural "
               "Networks, IJCAI 2018",
           .score = sum_over_unit<square, square_root>},
          {.name = "group_norm",
           .help = "sum of w^2 over the unit: over all that goes with a coupled channel, layer by layer",
           .paper = "Fang, Ma, Song, Mi, Wang: DepGraph: Towards Any Structural Pruning, CVPR 2023",
           .score = sum_over_unit<square, same>},
          {.name = "lamp",
           .help = "w^2 over the sum of all w^2 of its layer that are not lower; of a unit, its sums of w^2",
           .paper =
               "Lee, Park, Mo, Ahn, Shin: Layer-adaptive Sparsity for the Magnitude-based Pruning, ICLR 2021",
           .score = sum_over_unit<square, same>,
           .relate = share_of_the_rest,
           .normalizer = Normalizer::none},
          {.name = "bn_scale",
           .help = "|gamma| of the batch norms after a coupled channel, ranked over all layers as they are",
           .paper =
               "Liu, Li, Shen, Huang, Yan, Zhang: Learning Efficient Convolutional Networks through Network "
               "Slimming, ICCV 2017",
           .score = sum_over_unit<magnitude, same>,
           .scored = Scored::scales,
           .normalizer = Normalizer::none},
          {.name = "fpgm",
           .help = "sum of the distances to the layer's other filters: what is near the middle goes; of a "
                   "channel, "
                   "by the weights that make it",
           .paper =
               "He, Liu, Wang, Hu, Yang: Filter Pruning via Geometric Median for Deep Convolutional Neural "
               "Networks Acceleration, CVPR 2019",
           .score = distances,
           .together = true,
           .scored = Scored::makers},
          {.name = "taylor",
           .help = "sum of (w dL/dw)^2 over the unit, the mean over batches: the square of what the loss "
                   "changes by, "
                   "to first order",
           .paper =
               "Molchanov, Mallya, Tyree, Frosio, Kautz: Importance Estimation for Neural Network Pruning, "
               "CVPR 2019",
           .score = sum_over_unit<first_order, same>,
           .needs = Needs::gradients,
           .batches = 10},
          {.name = "obd",
           .help = "sum of w^2 h / 2 over the unit, h the mean square of single images' dL/dw (the Fisher "
                   "information's diagonal)",
           .paper =
               "LeCun, Denker, Solla: Optimal Brain Damage, NIPS 1989; Theis, Korshunova, Tejani, Huszar: "
               "Faster gaze prediction with dense networks and Fisher pruning, 2018",
           .score = sum_over_unit<second_order, same>,
           .needs = Needs::curvature,
           .batches = 128},
          {.name = "snip",
           .help =
               "sum of |w dL/dw| over the unit, dL/dw the mean over batches: how much the loss feels that it "
               "is there; for a network that has not been trained",
           .paper = "Lee, Ajanthan, Torr: SNIP: Single-shot Network Pruning based on Connection Sensitivity, "
                    "ICLR 2019",
           .score = sum_over_unit<product_magnitude, same>,
           .needs = Needs::mean_gradients,
           .batches = 1},
          {.name = "grasp",
           .help =
               "sum of w (H g) over the unit, g the gradient and H its derivative: how much of the loss's "
               "fall goes with it; for a network that has not been trained",
           .paper =
               "Wang, Zhang, Grosse: Picking Winning Tickets Before Training by Preserving Gradient Flow, "
               "ICLR 2020",
           .score = sum_over_unit<product, same>,
           .needs = Needs::hessian_gradients,
           .batches = 2,
           .normalizer = Normalizer::none,
           .extra = {{.name = "temperature",
                      .help = "what logits are divided by, so that no answer of the first weights is sure",
                      .value = 200.0,
                      .from = 1e-3,
                      .to = 1e6}}},
          {.name = "synflow",
           .help =
               "sum of |w dR/dw| over the unit, R what the absolute weights make of an image of ones; no "
               "layer is emptied, for each has as much of it in all; for a network that has not been trained",
           .paper = "Tanaka, Kunin, Yamins, Ganguli: Pruning neural networks without any data by iteratively "
                    "conserving synaptic flow, NeurIPS 2020",
           .score = sum_over_unit<product_magnitude, same>,
           .needs = Needs::synaptic_flow,
           .normalizer = Normalizer::none,
           .iterations = 100},
          {.name = "movement",
           .help =
               "minus the sum of w dL/dw over the unit and the stage's steps: what has moved away from zero "
               "stays; for fine-tuning, along a schedule",
           .paper = "Sanh, Wolf, Rush: Movement Pruning: Adaptive Sparsity by Fine-Tuning, NeurIPS 2020",
           .score = sum_over_unit<minus_signal, same>,
           .needs = Needs::movement,
           .normalizer = Normalizer::none},
          {.name = "woodfisher",
           .help =
               "sum of w^2 / (2 [F^-1]_qq) over the unit, F the Fisher information of weights next to each "
               "other; what stays makes up for what goes",
           .paper = "Singh, Alistarh: WoodFisher: Efficient Second-Order Approximation for Neural Network "
                    "Compression, NeurIPS 2020",
           .score = sum_over_unit<second_order, same>,
           .needs = Needs::inverse_fisher,
           .batches = 1024,
           .extra =
               {{.name = "damping", .help = "added to F's diagonal", .value = 1e-5, .from = 1e-12, .to = 1e3},
                {.name = "block_size",
                 .help = "weights next to each other whose curvatures are known together",
                 .value = int64_t{50},
                 .from = 1,
                 .to = 1024}},
           .solve = solve_blocks},
          {.name = "wanda",
           .help = "sum over the unit of |w| times the norm of what it is multiplied by",
           .paper =
               "Sun, Liu, Bair, Kolter: A Simple and Effective Pruning Approach for Large Language Models, "
               "ICLR 2024",
           .score = sum_over_unit<product_magnitude, same>,
           .needs = Needs::input_norms,
           .batches = 10},
          {.name = "sparsegpt",
           .help =
               "sum over the unit of w^2 / U_jj^2, what it costs its layer's output when weights after it "
               "make "
               "up for it; they do, column by column, and which go of each 128 columns is decided on the way",
           .paper =
               "Frantar, Alistarh: SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot, "
               "ICML 2023",
           .score = sum_over_unit<square_times, same>,
           .needs = Needs::input_products,
           .batches = 10,
           .extra = {{.name = "damping",
                      .help = "share of the mean of H's diagonal that is added to it",
                      .value = 0.01,
                      .from = 1e-12,
                      .to = 1e3}},
           .solve = solve_columns},
      });
  return all;
}

uint64_t score_key(uint64_t seed) {
  constexpr uint64_t score_stream = 0x73636F7265;  // "score"
  return random_key(seed, score_stream);
}

const std::vector<std::string>& normalizer_names() {
  static const std::vector<std::string> names = {"none", "mean", "max", "standardize"};
  return names;
}

Normalizer normalizer_named(const std::string& name) {
  return static_cast<Normalizer>(position_of_name("normalizer", name, normalizer_names()));
}

void normalize(std::span<float> scores, Normalizer normalizer) {
  float min = std::numeric_limits<float>::infinity(), max = -min, magnitude = 0;
  double sum = 0;
  int64_t count = 0;
  for (const float score : scores) {
    if (score == pruned_score) continue;
    min = std::min(min, score);
    max = std::max(max, score);
    magnitude = std::max(magnitude, std::abs(score));
    sum += std::abs(score);
    ++count;
  }
  if (normalizer == Normalizer::none || count == 0) return;
  float offset = 0, scale = magnitude;
  if (normalizer == Normalizer::mean) scale = static_cast<float>(sum / static_cast<double>(count));
  if (normalizer == Normalizer::standardize) offset = min, scale = max - min;
  if (scale == 0) scale = 1;  // all are equal
  for (float& score : scores)
    if (score != pruned_score) score = (score - offset) / scale;
}

std::string why_not(const Criterion& criterion, const Unit& unit) {
  const auto reason = [&](const char* why) { return join("criterion ", criterion.name, " ", why); };
  if (kind_of(criterion.needs).data && criterion.batches <= 0)
    return reason("looks at data, and its row does not say at how many batches");
  if (criterion.solve && unit.kind != Unit::weight && unit.kind != Unit::n_of_m)
    return reason("has each weight that goes made up for: expected unit weight, or n:m such as 2:4");
  const bool of_layers = criterion.needs == Needs::input_norms || criterion.needs == Needs::input_products ||
                         criterion.needs == Needs::hessian_gradients ||
                         criterion.needs == Needs::inverse_fisher;
  if (of_layers && unit.kind == Unit::channel)
    return reason("says nothing of norms, which go with a channel: expected another unit");
  if (criterion.scored == Scored::scales && unit.kind != Unit::channel)
    return reason("goes by the scales of batch norms, which are of channels: expected unit channel");
  const bool has_distance =
      unit.kind == Unit::filter || unit.kind == Unit::column || unit.kind == Unit::channel;
  if (criterion.together && !has_distance)
    return reason(
        "goes by the distances of a layer's filters from each other: expected unit filter, column or "
        "channel");
  if (criterion.relate && unit.kind == Unit::layer)
    return reason(
        "compares units with the others of their layer, of which there are none: expected another "
        "unit");
  return "";
}

}  // namespace espalier
