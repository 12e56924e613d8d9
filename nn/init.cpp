#include "espalier/nn/init.h"

#include <cmath>

#include "espalier/core/random.h"
#include "espalier/nn/state_dict.h"

namespace espalier {
namespace {

const double embedding_bound = 0.02 * std::sqrt(3.0);  // a deviation of 0.02 (Dosovitskiy et al. 2021)

std::vector<InitRule> all_rules() {
  return {
      {.name = "pytorch",
       .help = "uniform on +-1 / sqrt(fan_in), biases, too: PyTorch's default",
       .spread = [](double in, double) { return 1.0 / std::sqrt(in); },
       .draws_biases = true},
      {.name = "kaiming_normal",
       .help = "normal of variance 2 / fan_in, biases 0 (He et al. 2015)",
       .spread = [](double in, double) { return std::sqrt(2.0 / in); },
       .normal = true},
      {.name = "kaiming_uniform",
       .help = "uniform of variance 2 / fan_in, biases 0 (He et al. 2015)",
       .spread = [](double in, double) { return std::sqrt(6.0 / in); }},
      {.name = "xavier_uniform",
       .help = "uniform of variance 2 / (fan_in + fan_out), biases 0 (Glorot and Bengio 2010)",
       .spread = [](double in, double out) { return std::sqrt(6.0 / (in + out)); }},
  };
}

/// Of a weight [O,I] or [O,H,W,I].
double spread_of(const InitRule& rule, const Shape& weight) {
  const auto fan_in = static_cast<double>(weight.row_elements());
  return rule.spread(fan_in, fan_in / static_cast<double>(weight[-1]) * static_cast<double>(weight[0]));
}

}  // namespace

Registry<InitRule>& init_rules() {
  static Registry<InitRule> all("init rule", all_rules());
  return all;
}

void initialize(Module& model, uint64_t seed, const std::string& rule_name,
                const std::function<bool(const Parameter&)>& which) {
  const InitRule& rule = init_rules().named(rule_name);
  uint64_t place = 0;
  double layer_spread = 0;  // a bias follows its weight and shares its spread
  for (Parameter* parameter : model.parameters()) {
    const uint64_t key = random_key(seed, place++);
    const bool is_embedding = parameter->role == Role::embedding, is_bias = parameter->role == Role::bias;
    if (parameter->role == Role::weight)
      layer_spread = spread_of(rule, parameter->shape());
    else if (!is_bias && !is_embedding)
      continue;  // norms and buffers keep what their layer gave them
    if (which && !which(*parameter)) continue;
    const double spread = is_embedding ? embedding_bound : is_bias && !rule.draws_biases ? 0 : layer_spread;
    const bool normal = rule.normal && !is_embedding;
    if (spread == 0) {
      parameter->value().fill(0);
      continue;
    }
    Tensor values = Tensor::empty(file_shape(*parameter));
    float* to = values.f32();
    for (int64_t i = 0; i < values.elements(); ++i) {
      const auto n = static_cast<uint64_t>(i);
      const double drawn = normal ? box_muller(random_uniform(key, 2 * n), random_uniform(key, 2 * n + 1))
                                  : 2.0 * random_uniform(key, n) - 1.0;
      to[i] = static_cast<float>(drawn * spread);
    }
    parameter->value().copy_from(from_file_layout(*parameter, values));
  }
}

}  // namespace espalier
