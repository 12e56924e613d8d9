#include "espalier/autograd/ops.h"
#include "espalier/graph/ops/families.h"
#include "espalier/graph/ops/operands.h"

namespace espalier::ops {
namespace {

using List = std::vector<int64_t>;

Padding sides_of(const OpCall& call) {
  const List& sides = call.attribute<List>("sides");
  ESP_CHECK(sides.size() == 4, call.op.name, ": 'sides' has ", sides.size(),
            " numbers, expected 4: top, left, bottom, right");
  return {sides[0], sides[1], sides[2], sides[3]};
}

/// A copy of all that goes in or, where that is less, out, and back.
Calls moving_kernels(const KernelContext& op) {
  const Tensor x = operand(op, "x", 1), y = output(op, 2);
  StridedShape s;
  s.sizes[4] = std::min(x.elements(), y.elements());
  s.x[4] = s.y[4] = 1;
  const auto run = [=, device = op.pass.device](float* to, const float* from, bool adds) {
    ESP_RUN(device, copy_strided(to, from, s, adds));
  };
  return there_and_back(
      op, op.call.op.name, 0, [=](float* to, const float* from) { run(to, from, false); }, run);
}

/// `one`, for each image; backward sums over images.
Calls expand_kernels(const KernelContext& op) {
  const Tensor one = operand(op, "one", 1), y = output(op, 2);
  const Device device = op.pass.device;
  const int64_t n = y.shape()[0], each = one.elements();
  StridedShape s;
  s.sizes[3] = n, s.sizes[4] = each;
  s.y[3] = each, s.y[4] = s.x[4] = 1;
  Calls calls{{"copy_strided", "", 0, traffic(one) + traffic(y), [=, to = like(y)]() mutable {
                 ESP_RUN(device, copy_strided(to.f32(), one.f32(), s, false));
               }}};
  if (op.gradient("one"))
    calls.push_back({"activation_bias_backward", "", 0, traffic(one) + traffic(y),
                     [=, adds = op.add("one"), done = like(one),
                      scratch = memory(ESP_RUN(device, rows_scratch(each)), device)]() mutable {
                       ESP_RUN(device,
                               activation_bias_backward(static_cast<float*>(nullptr), done.f32(), y.f32(),
                                                        static_cast<const float*>(nullptr), Activation::none,
                                                        n, each, adds, scratch.raw()));
                     }});
  return calls;
}

}  // namespace

std::vector<Op> strided_rows() {
  return {{.name = "permute",
           .inputs = {{"x"}},
           .attributes = {{"axes", List()}},
           .run = [](const OpArguments& x) { return permute(x("x"), x.call.attribute<List>("axes")); },
           .constants = [](const ConstantArguments& c) { return c("x"); },
           .keeps_constants = [](const OpCall& c) { return c.node.channels.rule == Channels::kept; },
           .kernels = moving_kernels},
          {.name = "pad",  // at its border a constant channel is another
           .inputs = {{"x"}},
           .attributes = {{"sides", List()}, {"value", 0.0}},
           .run = [](const OpArguments& x) { return pad(x("x"), sides_of(x.call), x.call.real("value")); },
           .kernels = moving_kernels},
          {.name = "expand",
           .inputs = {{"x"}, {"one", OpInput::required, Role::embedding}},
           .run = [](const OpArguments& x) { return expand(x("x"), x("one")); },
           .kernels = expand_kernels}};
}

}  // namespace espalier::ops
