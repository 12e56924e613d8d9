// A network that is nothing but its parameters, so that a test can write down every weight.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "espalier/nn/module.h"
#include "support/bad_input.h"

namespace espalier {

class HandMade : public Module {
 public:
  Parameter& add(const std::string& name, const Shape& shape, const std::vector<float>& values,
                 Role role = Role::weight) {
    return add_parameter(name, role, Tensor::from(shape, values));
  }
  Variable forward(const Variable& x) override { return x; }
  std::string type() const override { return "hand-made"; }
};

/// Of a hand-made network, which looks at no pixel.
inline const Shape any_input{1, 1, 1};

inline std::vector<float> numbers(const Tensor& tensor) {
  const auto span = tensor.span<float>();
  return {span.begin(), span.end()};
}

inline std::vector<int> flags(const Tensor& tensor) {
  const auto span = tensor.span<uint8_t>();
  return {span.begin(), span.end()};
}

}  // namespace espalier
