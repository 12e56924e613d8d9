#include "espalier/prune/proof.h"

#include <algorithm>
#include <cmath>

namespace espalier {
namespace {

/// Of these images, on the CPU, by the model in inference, or by their own statistics; the running ones stay
/// as they are.
Tensor outputs(Module& model, const Tensor& images, bool by_the_batch) {
  std::vector<std::pair<Parameter*, Tensor>> statistics;
  for (Parameter* parameter : model.parameters())
    if (by_the_batch && !parameter->learned()) statistics.emplace_back(parameter, parameter->value().clone());
  const InMode mode(model, by_the_batch);
  const NoGradient off;
  const Tensor there = images.to(device_of(model.parameters()));
  Tensor y = model.forward(Variable(there)).value().to(Device::cpu);
  for (auto& [parameter, before] : statistics) parameter->value() = std::move(before);
  return y;
}

/// NaN if one of them is.
double larger(double a, double b) { return std::isnan(a) || a > b ? a : b; }

CutProof compare(const Tensor& masked, const Tensor& cut) {
  ESP_CHECK(masked.shape() == cut.shape(), "prune: the cut network's output is ", cut.shape(),
            ", the masked one's ", masked.shape());
  CutProof proof;
  const int64_t images = masked.shape()[0], logits = masked.shape().row_elements();
  for (int64_t k = 0; k < logits; ++k) {
    double lowest = masked.f32()[k], highest = lowest;
    for (int64_t i = k; i < images * logits; i += logits) {
      const double a = masked.f32()[i], b = cut.f32()[i];
      lowest = std::min(lowest, a);
      highest = std::max(highest, a);
      proof.largest_output = larger(proof.largest_output, std::abs(a));
      proof.largest_difference = larger(proof.largest_difference, std::abs(a - b));
    }
    proof.spread = std::max(proof.spread, highest - lowest);
  }
  return proof;
}

}  // namespace

Proof::Proof(Module& model, const Tensor& images)
    : model_(model), images_(images), masked_(outputs(model, images, false)) {
  by_the_batch_ = images.shape()[0] > 1 && !compare(masked_, masked_).says_something();
  if (by_the_batch_) masked_ = outputs(model, images, true);
}

CutProof Proof::end() const {
  CutProof proof = compare(masked_, outputs(model_, images_, by_the_batch_));
  proof.by_the_batch = by_the_batch_;
  return proof;
}

}  // namespace espalier
