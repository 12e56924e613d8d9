#include "espalier/optim/clip.h"

#include <cmath>

#include "espalier/optim/optimizer.h"

namespace espalier {
namespace {

/// The sum of squares of all gradients: one double at the beginning of this memory, on `device`.
Tensor square_sum(const std::vector<Parameter*>& parameters, Device device) {
  std::vector<UpdateSpan> spans;
  for (Parameter* parameter : parameters)
    if (parameter->gradient().defined()) spans.push_back(span_of(*parameter));
  Tensor sum = Tensor::empty({sizeof(double)}, DType::u8, device);
  Tensor scratch =
      Tensor::empty({static_cast<int64_t>(ESP_RUN(device, reduce_scratch()))}, DType::u8, device);
  ESP_RUN(device, gradient_square_sum(static_cast<double*>(sum.raw()), spans.data(),
                                      static_cast<int64_t>(spans.size()), scratch.raw()));
  return sum;
}

}  // namespace

Tensor clip_factor(const std::vector<Parameter*>& parameters, double max_norm) {
  const Device device = device_of(parameters);
  const Tensor sum = square_sum(parameters, device);
  Tensor factor = Tensor::empty({}, DType::f32, device);
  ESP_RUN(device, clip_factor(factor.f32(), static_cast<const double*>(sum.raw()), max_norm));
  return factor;
}

double gradient_norm(const std::vector<Parameter*>& parameters) {
  const Tensor sum = square_sum(parameters, device_of(parameters)).to(Device::cpu);
  return std::sqrt(*static_cast<const double*>(sum.raw()));
}

}  // namespace espalier
