#include "espalier/prune/signals.h"

#include "espalier/core/parallel.h"

namespace espalier {
namespace {

/// sum += share x^2.
void add_square(Tensor& sum, const Tensor& x, float share) {
  constexpr int64_t grain = 65536;
  float* to = sum.f32();
  const float* from = x.f32();
  parallel_for(x.elements(), grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] += share * from[i] * from[i];
  });
}

/// While it lives, frozen parameters have gradients, too: they are scored as all others are.
class Thawed {
 public:
  explicit Thawed(const std::vector<Parameter*>& parameters) {
    for (Parameter* parameter : parameters)
      if (parameter->frozen()) thawed_.push_back(parameter);
    for (Parameter* parameter : thawed_) parameter->variable.set_requires_gradient(true);
  }
  ~Thawed() {
    for (Parameter* parameter : thawed_) parameter->variable.set_requires_gradient(false);
  }
  Thawed(const Thawed&) = delete;
  Thawed& operator=(const Thawed&) = delete;

 private:
  std::vector<Parameter*> thawed_;
};

}  // namespace

Signals gather_signals(Module& model, Looks looks, int64_t batches,
                       const std::function<Variable(int64_t)>& loss) {
  Signals signals;
  if (looks == Looks::at_weights) return signals;
  const InMode inference(model, false);
  const auto parameters = model.parameters();
  const Thawed thawed(parameters);
  for (Parameter* parameter : parameters) parameter->variable.clear_gradient();
  for (int64_t batch = 0; batch < batches; ++batch) {
    loss(batch).backward();
    for (Parameter* parameter : parameters) {
      if (!parameter->gradient().defined()) continue;
      Tensor& sum = signals.tensors[parameter];
      if (!sum.defined()) sum = Tensor::zeros(parameter->shape());
      add_square(sum, parameter->gradient(), 1.0f / static_cast<float>(batches));
      parameter->variable.clear_gradient();
    }
  }
  return signals;
}

}  // namespace espalier
