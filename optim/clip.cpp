#include "espalier/optim/clip.h"

#include <algorithm>
#include <cmath>

#include "espalier/core/kernels.h"

namespace espalier {

double gradient_norm(const std::vector<Parameter*>& parameters) {
  const Device device = device_of(parameters);
  const auto bytes = static_cast<int64_t>(ESP_RUN(device, reduce_scratch()));
  Tensor scratch = Tensor::empty({bytes}, DType::u8, device);
  double total = 0;
  for (const Parameter* parameter : parameters)
    if (const Tensor& g = parameter->gradient(); g.defined())
      total +=
          ESP_RUN(device, square_sum(g.f32(), parameter->mask.data<uint8_t>(), g.elements(), scratch.raw()));
  return std::sqrt(total);
}

double clip_factor(double norm, double most) { return std::min(1.0, most / (norm + 1e-6)); }

}  // namespace espalier
