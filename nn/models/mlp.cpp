// Multilayer perceptron: fc1 .. fcN with an activation between.
#include "espalier/nn/layers.h"
#include "espalier/nn/models/models.h"

namespace espalier {
namespace {

/// x [N,H,W,C] to logits [N,classes] through layers of the widths `hidden`. LeNet-300-100 (LeCun et al. 1998)
/// is the one of 300 and 100.
class Mlp : public Module {
 public:
  Mlp(const Shape& input, const std::vector<int64_t>& hidden, int64_t classes, Activation f);
  Variable forward(const Variable& x) override;
  std::string type() const override { return "mlp"; }

 private:
  std::vector<Linear*> layers_;
};

Mlp::Mlp(const Shape& input, const std::vector<int64_t>& hidden, int64_t classes, Activation f) {
  int64_t in = input.elements(), positions = input[0] * input[1];
  if (input[2] == 1) positions = 1;  // one channel: both column orders are the same
  for (size_t i = 0; i <= hidden.size(); ++i) {
    const bool last = i == hidden.size();
    const int64_t out = last ? classes : hidden[i];
    layers_.push_back(&add_child<Linear>("fc" + std::to_string(i + 1), in, out, true,
                                         last ? Activation::none : f, positions));
    in = out;
    positions = 1;
  }
}

Variable Mlp::forward(const Variable& x) {
  Variable y = ops::flatten(x);
  for (Linear* layer : layers_) y = layer->forward(y);
  return y;
}

std::unique_ptr<Module> perceptron(const ModelOptions& o, std::vector<int64_t> hidden, Activation f) {
  for (int64_t& width : hidden) width = scaled_width(width, o.width);
  return std::make_unique<Mlp>(o.input, hidden, o.classes, f);
}

}  // namespace

ModelInfo mlp() {
  return {.name = "mlp",
          .help = "multilayer perceptron fc1..fcN; 'hidden' gives its widths (default 256, 128)",
          .input = {28, 28, 1},
          .classes = 10,
          .options = {"hidden"},
          .make = [](const ModelOptions& o, Activation f) { return perceptron(o, o.hidden, f); }};
}

ModelInfo lenet300() {
  return {.name = "lenet300",
          .help = "LeNet-300-100: an MLP of 300 and 100",
          .input = {28, 28, 1},
          .classes = 10,
          .make = [](const ModelOptions& o, Activation f) {
            return perceptron(o, {300, 100}, f);
          }};
}

}  // namespace espalier
