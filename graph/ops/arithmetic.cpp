#include "espalier/autograd/ops.h"
#include "espalier/graph/ops/families.h"

namespace espalier::ops {
namespace {

Constants constants_of_add(const ConstantArguments& c) {
  Constants constants = c("a");
  add_constants(constants, c("b"));
  return constants;
}

/// Where both inputs pass on; a parameter's numbers are not known here.
bool reads_no_parameter(const OpCall& call) { return !call.graph.is_parameter(call.input("b")); }

Constants constants_of_mul(const ConstantArguments& c) {
  Constants constants = c("a");
  for (size_t i = 0; i < constants.size(); ++i)
    if (constants[i]) *constants[i] *= c("b")[i].value();
  return constants;
}

Constants constants_of_scale(const ConstantArguments& c) {
  Constants constants = c("x");
  for (auto& constant : constants)
    if (constant) *constant *= c.call.real("factor");
  return constants;
}

}  // namespace

void add_constants(Constants& sum, const Constants& more) {
  for (size_t i = 0; i < sum.size(); ++i)
    if (sum[i]) *sum[i] += more[i].value();
}

std::vector<Op> arithmetic_rows() {
  return {{.name = "add",
           .inputs = {{"a"}, {"b"}},
           .run = [](const OpArguments& x) { return add(x("a"), x("b")); },
           .constants = constants_of_add,
           .keeps_constants = reads_no_parameter},
          {.name = "mul",
           .inputs = {{"a"}, {"b"}},
           .run = [](const OpArguments& x) { return mul(x("a"), x("b")); },
           .constants = constants_of_mul,
           .keeps_constants = reads_no_parameter},
          {.name = "scale",
           .inputs = {{"x"}},
           .attributes = {{"factor", 1.0}},
           .run = [](const OpArguments& x) { return scale(x("x"), x.call.real("factor")); },
           .constants = constants_of_scale},
          {.name = "sum", .inputs = {{"x"}}, .run = [](const OpArguments& x) { return sum(x("x")); }},
          {.name = "mean", .inputs = {{"x"}}, .run = [](const OpArguments& x) { return mean(x("x")); }},
          {.name = "dropout",
           .inputs = {{"x"}},
           .attributes = {{"p", 0.0}},
           .run =
               [](const OpArguments& x) {
                 if (!x.training) return x("x");
                 ESP_CHECK(
                     x.key,
                     "dropout: a network of which there is but a graph cannot be trained through it yet");
                 return dropout(x("x"), x.call.real("p"), *x.key);
               },
           .constants = [](const ConstantArguments& c) { return c("x"); }}};
}

}  // namespace espalier::ops
