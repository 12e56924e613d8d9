// Parameters for the tests of optimizers.
#pragma once

#include <memory>
#include <vector>

#include "espalier/nn/parameter.h"
#include "support/numbers.h"

namespace espalier {

inline std::unique_ptr<Parameter> make_parameter(const Floats& values, Role role = Role::weight) {
  auto parameter = std::make_unique<Parameter>();
  parameter->role = role;
  parameter->variable =
      Variable(Tensor::from({static_cast<int64_t>(values.size())}, values), role != Role::buffer);
  return parameter;
}
inline void set_gradient(Parameter& parameter, const Floats& values) {
  parameter.gradient() = Tensor::from({static_cast<int64_t>(values.size())}, values);
}
inline Floats value_of(const Parameter& parameter) {
  const auto span = parameter.value().span<float>();
  return Floats(span.begin(), span.end());
}

}  // namespace espalier
