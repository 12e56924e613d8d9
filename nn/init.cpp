#include "espalier/nn/init.h"

#include <cmath>

#include "espalier/core/random.h"
#include "espalier/nn/state_dict.h"

namespace espalier {
namespace {
const double embedding_bound = 0.02 * std::sqrt(3.0);  // a deviation of 0.02 (Dosovitskiy et al. 2021)
}

void initialize(Module& model, uint64_t seed, const std::function<bool(const Parameter&)>& which) {
  uint64_t place = 0;
  double bound = 0;  // a bias follows its weight and shares its bound
  for (Parameter* parameter : model.parameters()) {
    const uint64_t key = random_key(seed, place++);
    const bool is_embedding = parameter->role == Role::embedding;
    if (parameter->role == Role::weight)
      bound = 1.0 / std::sqrt(static_cast<double>(parameter->shape().row_elements()));
    else if (parameter->role != Role::bias && !is_embedding)
      continue;  // norms and buffers keep what their layer gave them
    if (which && !which(*parameter)) continue;
    Tensor values = Tensor::empty(file_shape(*parameter));
    const double max_value = is_embedding ? embedding_bound : bound;
    float* to = values.f32();
    for (int64_t i = 0; i < values.elements(); ++i)
      to[i] = static_cast<float>((2.0 * random_uniform(key, static_cast<uint64_t>(i)) - 1.0) * max_value);
    parameter->value().copy_from(from_file_layout(*parameter, values));
  }
}

}  // namespace espalier
