#include "espalier/autograd/ops.h"

namespace espalier::ops {

Variable flatten(const Variable& x) {
  const Shape& s = x.shape();
  ESP_CHECK(s.axes() == 4, "flatten: expects x [N,H,W,C], found ", s);
  return record({.op = "flatten",
                 .attributes = {},
                 .inputs = {x},
                 .output = x.value().reshape({s[0], s.row_elements()}),
                 .channels = {Channels::flattened, {s[1] * s[2]}},
                 .backward = [](const Tensor& dy, const Gradients& to) { to.give(0, dy); }});
}

}  // namespace espalier::ops
