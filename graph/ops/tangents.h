// What the rules of Op::tangent have in common. A tangent that is undefined is 0.
#pragma once

#include "espalier/graph/op.h"
#include "espalier/graph/ops.h"

namespace espalier::ops {

/// a + b, of which either may be undefined.
inline Variable sum_of(const Variable& a, const Variable& b) {
  if (!a.defined() || !b.defined()) return a.defined() ? a : b;
  return add(a, b);
}

inline Variable zeros_like(const Variable& x) {
  return Variable(Tensor::zeros(x.shape(), x.value().dtype(), x.value().device()));
}

/// Of an op that is linear in all that moves: the op itself, on the tangents.
inline Variable run_on_tangents(const OpArguments& x, const OpArguments& dx) {
  std::vector<Variable> tangents = dx.values;
  for (size_t i = 0; i < tangents.size(); ++i)
    if (!tangents[i].defined() && x.values[i].defined()) tangents[i] = zeros_like(x.values[i]);
  return x.call.op.run({x.call, tangents});
}

/// f'(x) tangent, of f(x) = y: for an f of straight pieces, whose derivative does not move itself.
/// `f` is run on a leaf of x's numbers.
template <class F>
Variable scaled_by_slope(const Variable& x, const Variable& tangent, const F& f) {
  const Variable leaf(x.value(), true);
  const Variable y = f(leaf);
  y.backward(Tensor::full(y.shape(), 1.0f, x.value().device()));
  return mul(tangent, Variable(leaf.gradient()));
}

inline bool in_any_case(const OpCall&) { return true; }

}  // namespace espalier::ops
