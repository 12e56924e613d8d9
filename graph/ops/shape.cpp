#include <algorithm>

#include "espalier/autograd/ops.h"
#include "espalier/graph/ops/families.h"

namespace espalier::ops {
namespace {

/// Channel c of pixel hw becomes feature hw C + c.
Constants constants_of_flatten(const ConstantArguments& c) {
  const Constants& of_pixel = c("x");
  Constants constants;
  while (!of_pixel.empty() && static_cast<int64_t>(constants.size()) < c.call.output()[-1])
    constants.insert(constants.end(), of_pixel.begin(), of_pixel.end());
  return constants;
}

Constants constants_of_concat(const ConstantArguments& c) {
  Constants constants(static_cast<size_t>(c.call.output()[-1]));
  const std::vector<int64_t>& firsts = c.call.node.channels.values;
  for (size_t k = 0; k < c.values.size(); ++k) std::ranges::copy(c.values[k], constants.begin() + firsts[k]);
  return constants;
}

Constants constants_of_slice(const ConstantArguments& c) {
  const Constants& all = c("x");
  if (all.empty()) return {};
  const auto first = all.begin() + c.call.whole("first");
  return Constants(first, first + c.call.whole("channels"));
}

bool keeps_channels(const OpCall& c) { return c.node.channels.rule == Channels::kept; }

}  // namespace

std::vector<Op> shape_rows() {
  return {
      {.name = "flatten",
       .inputs = {{"x"}},
       .run = [](const OpArguments& x) { return flatten(x("x")); },
       .constants = constants_of_flatten},
      {.name = "concat",
       .inputs = {{"parts", OpInput::variadic}},
       .attributes = {{"axis", int64_t{-1}, false}},  // a graph says it of others than channels
       .run = [](const OpArguments& x) { return concat(x.values, x.call.whole("axis")); },
       .constants = constants_of_concat,
       .keeps_constants = [](const OpCall& c) { return c.whole("axis") == -1; }},
      {.name = "slice",
       .inputs = {{"x"}},
       .attributes = {{"first", int64_t{0}}, {"channels", int64_t{0}}},
       .run =
           [](const OpArguments& x) {
             return slice(x("x"), x.call.whole("first"), x.call.whole("channels"));
           },
       .constants = constants_of_slice},
      {.name = "reshape",
       .inputs = {{"x"}},
       .attributes = {{"sizes", std::vector<int64_t>()}},
       .run =
           [](const OpArguments& x) {
             return reshape(x("x"), x.call.attribute<std::vector<int64_t>>("sizes"));
           },
       .constants = [](const ConstantArguments& c) { return c("x"); },
       .keeps_constants = keeps_channels},
      {.name = "select",
       .inputs = {{"x"}},
       .attributes = {{"axis", int64_t{0}}, {"index", int64_t{0}}},
       .run =
           [](const OpArguments& x) { return select(x("x"), x.call.whole("axis"), x.call.whole("index")); },
       .constants = [](const ConstantArguments& c) { return c("x"); },
       .keeps_constants = keeps_channels}};
}

}  // namespace espalier::ops
