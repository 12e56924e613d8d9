// Stochastic gradient descent with momentum (Polyak 1964; Nesterov's form as Sutskever et al. 2013), as
// torch.optim.SGD:
//   g += weight_decay w
//   v  = momentum v + g            (in the first step v = g)
//   w -= lr (nesterov ? g + momentum v : v)
#pragma once

#include "espalier/optim/optimizer.h"

namespace espalier {

class Sgd : public Optimizer {
 public:
  Sgd(const std::vector<Parameter*>& parameters, const OptimizerOptions& options)
      : Optimizer(parameters, options.momentum != 0.0 ? 1 : 0, options.weight_decay), options_(options) {
    if (options.nesterov && options.momentum <= 0.0) fail_usage("sgd: nesterov needs a momentum above 0");
  }

  void set_momentum(double momentum) override {
    if (options_.momentum != 0.0) options_.momentum = momentum;
  }

 protected:
  void update(Device device, const std::vector<UpdateSpan>& spans, const GroupStep& group) override {
    const SgdStep step{.lr = group.lr,
                       .momentum = static_cast<float>(options_.momentum),
                       .weight_decay = group.weight_decay,
                       .gradient_scale = group.gradient_scale,
                       .nesterov = options_.nesterov,
                       .first = steps_ == 1};
    ESP_RUN(device, sgd_update(spans.data(), static_cast<int64_t>(spans.size()), step));
  }

 private:
  OptimizerOptions options_;
};

}  // namespace espalier
