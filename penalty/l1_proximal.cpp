// Penalty l1_proximal: after each step w = sign(w) max(0, |w| - lr weight), for all weights of convolutions
// and linear layers: the proximal step of weight |w|, which l1 takes the gradient of. It sets weights to
// exactly 0, where a gradient's steps only come near. It knows no channels.
#include "espalier/core/kernels.h"
#include "espalier/penalty/penalty.h"

namespace espalier {
namespace {

class L1ProximalPenalty : public Penalty {
 public:
  L1ProximalPenalty(Module& model, const Shape&, const PenaltyOptions& options)
      : model_(model), weight_(options.weight) {}

  void after_update(const RateOf& rate) override {
    for (Parameter* parameter : model_.parameters()) {
      if (parameter->role != Role::weight || !parameter->gradient().defined()) continue;
      const Tensor& unmasked =
          parameter->state_of(unmasked_value);  // what the step moved, where there is one
      Tensor w = unmasked.defined() ? unmasked : parameter->value();
      ESP_RUN(w.device(), shrink(w.f32(), static_cast<float>(rate(*parameter) * weight_), w.elements()));
    }
  }

 private:
  Module& model_;
  double weight_;
};

}  // namespace

PenaltyInfo l1_proximal() {
  return {.name = "l1_proximal",
          .help =
              "the sum of the weights' magnitudes, of all convolutions and linear layers, by a step of its "
              "own after each: weights become exactly 0",
          .paper =
              "Yang, Yuan, Chatzinotas, Ottersten: ProxSGD: Training Structured Neural Networks under "
              "Regularization and Constraints, ICLR 2020",
          .options = {"weight"},
          .make = new_penalty<L1ProximalPenalty>};
}

}  // namespace espalier
