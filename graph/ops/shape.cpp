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

}  // namespace

std::vector<Op> shape_rows() {
  return {{.name = "flatten",
           .inputs = {{"x"}},
           .run = [](const OpArguments& x) { return flatten(x("x")); },
           .constants = constants_of_flatten},
          {.name = "concat",
           .inputs = {{"parts", OpInput::variadic}},
           .run = [](const OpArguments& x) { return concat(x.values); },
           .constants = constants_of_concat},
          {.name = "slice",
           .inputs = {{"x"}},
           .attributes = {{"first", int64_t{0}}, {"channels", int64_t{0}}},
           .run =
               [](const OpArguments& x) {
                 return slice(x("x"), x.call.whole("first"), x.call.whole("channels"));
               },
           .constants = constants_of_slice}};
}

}  // namespace espalier::ops
