// LeNet-5 as Caffe has it (after LeCun et al. 1998): 431,080 parameters at 28x28x1 and 10 classes.
#pragma once

#include "espalier/nn/layers.h"

namespace espalier {

/// conv1 (20 of 5x5) - pool - conv2 (50 of 5x5) - pool - fc1 (500) - fc2; no padding; `width` is a factor on
/// 20, 50 and 500.
class LeNet5 : public Module {
 public:
  LeNet5(const Shape& input, int64_t classes, double width, Activation f, bool average_pool);
  Variable forward(const Variable& x) override;
  std::string type() const override { return "lenet5"; }

 private:
  Variable pool(const Variable& x) const {
    return average_pool_ ? ops::average_pool2d(x, 2) : ops::max_pool2d(x, 2);
  }

  Conv2d *conv1_, *conv2_;
  Linear *fc1_, *fc2_;
  bool average_pool_;
};

}  // namespace espalier
