// A program with a module of its own, of only Espalier's ops: `espalier` knows of it what its file says.
#include "espalier/graph/ops.h"
#include "espalier/nn/init.h"
#include "espalier/nn/layers.h"
#include "espalier/run/checkpoint.h"

using namespace espalier;

/// A residual block that gates its channels, beside what is pooled otherwise.
class OwnModule : public Module {
 public:
  OwnModule()
      : stem_(add_child<Conv2d>("stem", 3, 16, 3, ops::Conv2dOptions{.pad = 1})),
        norm_(add_child<BatchNorm2d>("norm", 16)),
        depthwise_(add_child<Conv2d>("depthwise", 16, 16, 3, ops::Conv2dOptions{.pad = 1, .groups = 16})),
        gate_(add_child<Linear>("gate", 16, 16, true, Activation::sigmoid)),
        head_(add_child<Linear>("head", 32, 4)) {
    initialize(*this, 0);
  }
  Variable forward(const Variable& x) override {
    const Variable y = stem_.forward(x, norm_, Activation::silu);
    const Variable z = ops::add(y, ops::mul(depthwise_(y), gate_(ops::global_average_pool(y))));
    const Variable largest = ops::flatten(ops::max_pool2d(z, 8));
    return head_(ops::concat({ops::global_average_pool(ops::clip(z, -1, 6)), largest}));
  }
  std::string type() const override { return "own_module"; }

 private:
  Conv2d& stem_;
  BatchNorm2d& norm_;
  Conv2d& depthwise_;
  Linear &gate_, &head_;
};

int main() {
  OwnModule model;
  save_weights("own.safetensors", model, {.image = {8, 8, 3}, .class_names = {"a", "b", "c", "d"}});
}
