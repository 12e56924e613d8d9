// Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019), as torch.optim.Adam and AdamW:
//   adam:  g += weight_decay w           adamw:  w -= lr weight_decay w
//   m = beta1 m + (1 - beta1) g          v = beta2 v + (1 - beta2) g^2
//   w -= lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps),   t = 1, 2, ...
#pragma once

#include <cmath>

#include "espalier/optim/optimizer.h"

namespace espalier {

class Adam : public Optimizer {
 public:
  Adam(const std::vector<Parameter*>& parameters, const OptimizerOptions& options)
      : Optimizer(parameters, 2, options.weight_decay), options_(options) {}

  void set_momentum(double momentum) override { options_.beta1 = momentum; }

 protected:
  void update(Device device, const std::vector<UpdateSpan>& spans, const GroupStep& group) override {
    const double t = static_cast<double>(steps_);
    const AdamStep step{.lr = group.lr,
                        .beta1 = options_.beta1,
                        .beta2 = options_.beta2,
                        .eps = static_cast<float>(options_.eps),
                        .weight_decay = group.weight_decay,
                        .gradient_scale = group.gradient_scale,
                        .decoupled = options_.type == "adamw",
                        .correction1 = static_cast<float>(1.0 - std::pow(options_.beta1, t)),
                        .correction2 = static_cast<float>(1.0 - std::pow(options_.beta2, t))};
    ESP_RUN(device, adam_update(spans.data(), static_cast<int64_t>(spans.size()), step));
  }

 private:
  OptimizerOptions options_;
};

}  // namespace espalier
