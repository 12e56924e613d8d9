#include "espalier/autograd/fixed_weights.h"

namespace espalier {
namespace {
thread_local FixedWeights* active = nullptr;  // the outermost
}

FixedWeights::FixedWeights() {
  if (!active) active = this;
}
FixedWeights::~FixedWeights() {
  if (active == this) active = nullptr;
}

const void* FixedWeights::prepared(const Tensor& weight, const std::vector<int64_t>& shape, size_t bytes,
                                   const std::function<void(void*)>& make) {
  if (!active || bytes == 0) return nullptr;
  auto [found, added] = active->kept_.try_emplace({weight.raw(), shape});
  Kept& kept = found->second;
  if (added) {
    kept = {weight, Tensor::empty({static_cast<int64_t>(bytes)}, DType::u8, weight.device())};
    make(kept.made.raw());
  }
  return kept.made.raw();
}

}  // namespace espalier
