// LeNet-5 as Caffe has it (after LeCun et al. 1998): 431,080 parameters at 28x28x1 and 10 classes.
#include "espalier/nn/layers.h"
#include "espalier/nn/models/models.h"

namespace espalier {
namespace {

/// Pixels left of a side after two rounds of a 5x5 convolution without padding and a pooling by 2.
int64_t side_after(int64_t size) { return ((size - 4) / 2 - 4) / 2; }

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

LeNet5::LeNet5(const Shape& input, int64_t classes, double width, Activation f, bool average_pool)
    : average_pool_(average_pool) {
  if (input[0] < 16 || input[1] < 16)
    fail_usage("model: lenet5 needs an input of at least 16x16 pixels, found ", input[0], "x", input[1]);
  const int64_t c1 = scaled_width(20, width), c2 = scaled_width(50, width), hidden = scaled_width(500, width);
  const int64_t pixels = side_after(input[0]) * side_after(input[1]);
  conv1_ = &add_child<Conv2d>("conv1", input[2], c1, 5, ops::Conv2dOptions{}, true, f);
  conv2_ = &add_child<Conv2d>("conv2", c1, c2, 5, ops::Conv2dOptions{}, true, f);
  fc1_ = &add_child<Linear>("fc1", pixels * c2, hidden, true, f, pixels);
  fc2_ = &add_child<Linear>("fc2", hidden, classes);
}

Variable LeNet5::forward(const Variable& x) {
  Variable y = pool(conv1_->forward(x));
  y = pool(conv2_->forward(y));
  return fc2_->forward(fc1_->forward(ops::flatten(y)));
}

std::unique_ptr<Module> make_lenet5(const ModelOptions& o, Activation f) {
  return std::make_unique<LeNet5>(o.input, o.classes, o.width, f, o.pool == "average");
}

}  // namespace

ModelInfo lenet5() {
  return {.name = "lenet5",
          .help = "LeNet-5 (Caffe's): two 5x5 convolutions and two linear layers, 431,080 parameters",
          .input = {28, 28, 1},
          .classes = 10,
          .options = {"pool"},
          .make = make_lenet5};
}

}  // namespace espalier
