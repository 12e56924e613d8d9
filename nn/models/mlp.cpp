#include "espalier/nn/models/mlp.h"

namespace espalier {

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

}  // namespace espalier
