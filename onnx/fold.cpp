#include "espalier/onnx/fold.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <span>
#include <utility>

#include "espalier/util/error.h"

namespace espalier {
namespace {

constexpr int64_t max_elements = int64_t{1} << 26;  // so that a short file cannot ask for all memory

using Inputs = std::vector<const OnnxConstant*>;
using Sizes = std::vector<int64_t>;

int64_t product(std::span<const int64_t> sizes) {
  int64_t all = 1;
  for (const int64_t size : sizes)
    ESP_CHECK(size >= 0 && !__builtin_mul_overflow(all, size, &all) && all <= max_elements,
              "would be of more than ", max_elements, " numbers");
  return all;
}

OnnxConstant like(const OnnxConstant& of, Sizes dims) {
  const int64_t elements = product(dims);
  OnnxConstant made{.dims = std::move(dims)};
  if (of.is_whole())
    made.integers.resize(static_cast<size_t>(elements));
  else
    made.numbers.resize(static_cast<size_t>(elements));
  return made;
}

void copy_number(OnnxConstant& to, int64_t place, const OnnxConstant& from, int64_t at) {
  if (to.is_whole())
    to.integers[static_cast<size_t>(place)] = from.integers[static_cast<size_t>(at)];
  else
    to.numbers[static_cast<size_t>(place)] = from.numbers[static_cast<size_t>(at)];
}

double number(const OnnxConstant& of, int64_t i) {
  return of.is_whole() ? static_cast<double>(of.integers[static_cast<size_t>(i)])
                       : double{of.numbers[static_cast<size_t>(i)]};
}

const OnnxConstant& required(const Inputs& inputs, size_t i) {
  ESP_CHECK(i < inputs.size() && inputs[i], "lacks its input ", i);
  return *inputs[i];
}

const Sizes& wholes(const Inputs& inputs, size_t i) {
  const OnnxConstant& found = required(inputs, i);
  ESP_CHECK(found.is_whole(), "its input ", i, " holds no whole numbers");
  return found.integers;
}

OnnxConstant reshaped(OnnxConstant constant, Sizes dims) {
  ESP_CHECK(product(dims) == constant.elements(), "does not have as many numbers before as after");
  constant.dims = std::move(dims);
  constant.name.clear();
  return constant;
}

/// How far apart neighbours along each axis of `dims` lie as numbers; 0 along what is repeated to be `to`.
Sizes strides_in(const Sizes& dims, const Sizes& to) {
  Sizes strides(to.size(), 0);
  int64_t step = 1;
  for (size_t back = 1; back <= dims.size(); ++back) {
    const int64_t size = dims[dims.size() - back];
    ESP_CHECK(back <= to.size() && (size == 1 || size == to[to.size() - back]),
              "its inputs' shapes do not fit");
    strides[to.size() - back] = size == 1 ? 0 : step;
    step *= size;
  }
  return strides;
}

/// each(place, at...) for every number of `dims`, in order, with its place in the inputs that have these
/// strides.
void for_each_number(const Sizes& dims, const std::vector<Sizes>& strides,
                     const std::function<void(int64_t, const Sizes&)>& each) {
  const int64_t all = product(dims);
  Sizes index(dims.size(), 0), at(strides.size(), 0);
  for (int64_t place = 0; place < all; ++place) {
    each(place, at);
    for (size_t axis = dims.size(); axis-- > 0;) {
      for (size_t i = 0; i < strides.size(); ++i) at[i] += strides[i][axis];
      if (++index[axis] < dims[axis]) break;
      for (size_t i = 0; i < strides.size(); ++i) at[i] -= strides[i][axis] * dims[axis];
      index[axis] = 0;
    }
  }
}

Sizes broadcast(const Sizes& a, const Sizes& b) {
  Sizes all(std::max(a.size(), b.size()), 1);
  for (const Sizes* one : {&a, &b})
    for (size_t back = 1; back <= one->size(); ++back) {
      int64_t& size = all[all.size() - back];
      size = size == 1 ? (*one)[one->size() - back] : size;
    }
  return all;
}

/// Of floats as floats, of whole numbers as whole ones, as the op's own runs would.
OnnxConstant elementwise(const Inputs& inputs, const std::function<float(float, float)>& real,
                         const std::function<int64_t(int64_t, int64_t)>& whole) {
  const OnnxConstant &a = required(inputs, 0), &b = required(inputs, 1);
  ESP_CHECK(a.is_whole() == b.is_whole(), "its inputs are of different types");
  const Sizes dims = broadcast(a.dims, b.dims);
  OnnxConstant y = like(a, dims);
  for_each_number(
      dims, {strides_in(a.dims, dims), strides_in(b.dims, dims)}, [&](int64_t place, const Sizes& at) {
        if (y.is_whole())
          y.integers[static_cast<size_t>(place)] =
              whole(a.integers[static_cast<size_t>(at[0])], b.integers[static_cast<size_t>(at[1])]);
        else
          y.numbers[static_cast<size_t>(place)] =
              real(a.numbers[static_cast<size_t>(at[0])], b.numbers[static_cast<size_t>(at[1])]);
      });
  return y;
}

/// Whole numbers wrap round, as they do in C; dividing by 0 is refused.
int64_t wrapped(uint64_t bits) { return static_cast<int64_t>(bits); }
int64_t quotient(int64_t a, int64_t b) {
  ESP_CHECK(b != 0 && !(b == -1 && a == std::numeric_limits<int64_t>::min()), "divides by 0");
  return a / b;
}

OnnxConstant by_arithmetic(const OnnxNode& node, const Inputs& in) {
  const auto u = [](int64_t x) { return static_cast<uint64_t>(x); };
  if (node.op == "Add")
    return elementwise(in, std::plus<float>(), [u](int64_t a, int64_t b) { return wrapped(u(a) + u(b)); });
  if (node.op == "Sub")
    return elementwise(in, std::minus<float>(), [u](int64_t a, int64_t b) { return wrapped(u(a) - u(b)); });
  if (node.op == "Mul")
    return elementwise(in, std::multiplies<float>(),
                       [u](int64_t a, int64_t b) { return wrapped(u(a) * u(b)); });
  if (node.op == "Div") return elementwise(in, std::divides<float>(), quotient);
  return elementwise(
      in, [](float a, float b) { return std::pow(a, b); },
      [](int64_t a, int64_t b) { return static_cast<int64_t>(std::pow(a, b)); });
}

OnnxConstant by_number(const OnnxNode& node, const Inputs& inputs) {
  const OnnxConstant& x = required(inputs, 0);
  OnnxConstant y = like(x, x.dims);
  for (int64_t i = 0; i < x.elements(); ++i)
    if (x.is_whole()) {
      ESP_CHECK(node.op == "Neg", "of whole numbers");
      y.integers[static_cast<size_t>(i)] =
          wrapped(-static_cast<uint64_t>(x.integers[static_cast<size_t>(i)]));
    } else {
      const float value = x.numbers[static_cast<size_t>(i)];
      y.numbers[static_cast<size_t>(i)] = node.op == "Neg"     ? -value
                                          : node.op == "Sqrt"  ? std::sqrt(value)
                                          : node.op == "Floor" ? std::floor(value)
                                                               : 1.0f / value;
    }
  return y;
}

OnnxConstant cast(const OnnxNode& node, const Inputs& inputs) {
  const OnnxConstant& x = required(inputs, 0);
  const int64_t to = node.whole("to").value_or(0);
  if (to == onnx::TensorProto::BOOL) {
    OnnxConstant y{.dims = x.dims};
    for (int64_t i = 0; i < x.elements(); ++i) y.integers.push_back(number(x, i) != 0.0);
    return y;
  }
  const bool real = is_real_type(to);
  if (real == !x.is_whole()) return x;
  OnnxConstant y{.dims = x.dims};
  if (real) {
    y.numbers.resize(x.integers.size());
    for (int64_t i = 0; i < x.elements(); ++i)
      y.numbers[static_cast<size_t>(i)] = static_cast<float>(number(x, i));
  } else {
    for (int64_t i = 0; i < x.elements(); ++i) {
      const double value = number(x, i);
      ESP_CHECK(std::abs(value) < 9e18, "holds ", value, ", which is no whole number of 64 bits");
      y.integers.push_back(static_cast<int64_t>(value));
    }
  }
  return y;
}

OnnxConstant gather(const OnnxConstant& x, size_t axis, const OnnxConstant& at) {
  const std::span<const int64_t> sizes(x.dims);
  const auto before = sizes.first(axis), after = sizes.subspan(axis + 1);
  Sizes dims(before.begin(), before.end());
  dims.insert(dims.end(), at.dims.begin(), at.dims.end());
  dims.insert(dims.end(), after.begin(), after.end());
  OnnxConstant y = like(x, dims);
  const int64_t rows = product(before), each = product(after), size = x.dims[axis];
  int64_t to = 0;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t place : at.integers) {
      place += place < 0 ? size : 0;
      ESP_CHECK(place >= 0 && place < size, "looks for place ", place, " of ", size);
      for (int64_t i = 0; i < each; ++i) copy_number(y, to++, x, (row * size + place) * each + i);
    }
  return y;
}

OnnxConstant gather(const OnnxNode& node, const Inputs& inputs) {
  const OnnxConstant& x = required(inputs, 0);
  wholes(inputs, 1);
  return gather(x, onnx_axis(node.whole("axis").value_or(0), x.dims.size()), required(inputs, 1));
}

OnnxConstant concat(const OnnxNode& node, const Inputs& inputs) {
  const OnnxConstant& first = required(inputs, 0);
  const size_t axis = onnx_axis(node.whole("axis").value_or(0), first.dims.size());
  Sizes dims = first.dims;
  for (size_t i = 1; i < inputs.size(); ++i) {
    Sizes its = required(inputs, i).dims;
    ESP_CHECK(its.size() == dims.size() && inputs[i]->is_whole() == first.is_whole(),
              "its inputs do not fit");
    dims[axis] += std::exchange(its[axis], first.dims[axis]);
    ESP_CHECK(its == first.dims, "its inputs' shapes do not fit");
  }
  OnnxConstant y = like(first, dims);
  const int64_t rows = product(std::span(dims).first(axis));
  int64_t to = 0;
  for (int64_t row = 0; row < rows; ++row)
    for (const OnnxConstant* input : inputs)
      for (int64_t i = 0, each = product(std::span(input->dims).subspan(axis)); i < each; ++i)
        copy_number(y, to++, *input, row * each + i);
  return y;
}

/// Axes of a Squeeze, an Unsqueeze, a Slice: an input since opset 13 (10), an attribute before.
std::optional<Sizes> axes_of(const OnnxNode& node, const Inputs& inputs, size_t input) {
  if (input < inputs.size() && inputs[input]) return wholes(inputs, input);
  return node.list("axes");
}

OnnxConstant squeezed(const OnnxNode& node, const Inputs& inputs) {
  const OnnxConstant& x = required(inputs, 0);
  const auto axes = axes_of(node, inputs, 1);
  std::vector<char> goes(x.dims.size(), 0);
  for (size_t i = 0; i < x.dims.size(); ++i) goes[i] = !axes && x.dims[i] == 1;
  for (const int64_t axis : axes.value_or(Sizes{})) goes[onnx_axis(axis, x.dims.size())] = 1;
  Sizes dims;
  for (size_t i = 0; i < x.dims.size(); ++i)
    if (!goes[i]) dims.push_back(x.dims[i]);
  return reshaped(x, dims);
}

OnnxConstant unsqueezed(const OnnxNode& node, const Inputs& inputs) {
  const OnnxConstant& x = required(inputs, 0);
  return reshaped(x, unsqueezed_sizes(x.dims, axes_of(node, inputs, 1)));
}

OnnxConstant reshape(const OnnxNode&, const Inputs& inputs) {
  const OnnxConstant& x = required(inputs, 0);
  Sizes dims = wholes(inputs, 1);
  int64_t known = 1;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 0 && i < x.dims.size()) dims[i] = x.dims[i];
    if (dims[i] != -1) ESP_CHECK(!__builtin_mul_overflow(known, dims[i], &known), "is too large");
  }
  for (int64_t& size : dims)
    if (size == -1) size = known > 0 ? x.elements() / known : 0;
  return reshaped(x, dims);
}

/// Of the axes' sizes one after the other, from start to end by step.
OnnxConstant slice(const OnnxNode& node, const Inputs& inputs) {
  OnnxConstant x = required(inputs, 0);
  const bool by_inputs = inputs.size() > 1;
  const auto numbers = [&](size_t input, const char* attribute) {
    if (by_inputs)
      return input < inputs.size() && inputs[input] ? std::optional(wholes(inputs, input)) : std::nullopt;
    return node.list(attribute);
  };
  const auto starts = numbers(1, "starts"), ends = numbers(2, "ends"), axes = numbers(3, "axes"),
             steps = by_inputs ? numbers(4, "steps") : std::nullopt;
  for (const OnnxRange& range : slice_ranges(x.dims, starts, ends, axes, steps)) {
    Sizes places(static_cast<size_t>(range.count));
    std::iota(places.begin(), places.end(), range.first);
    x = gather(x, range.axis, {.dims = {range.count}, .integers = places});
  }
  return x;
}

OnnxConstant transposed(const OnnxNode& node, const Inputs& inputs) {
  const OnnxConstant& x = required(inputs, 0);
  Sizes axes(x.dims.size());
  std::iota(axes.rbegin(), axes.rend(), 0);
  axes = node.list("perm").value_or(axes);
  Sizes strides(x.dims.size(), 1), dims, moved, sorted = axes;
  std::ranges::sort(sorted);
  for (size_t i = x.dims.size(); i-- > 1;) strides[i - 1] = strides[i] * x.dims[i];
  for (size_t i = 0; i < sorted.size(); ++i)
    ESP_CHECK(sorted.size() == x.dims.size() && sorted[i] == static_cast<int64_t>(i),
              "its axes are not each there once");
  for (const int64_t axis : axes) {
    dims.push_back(x.dims[static_cast<size_t>(axis)]);
    moved.push_back(strides[static_cast<size_t>(axis)]);
  }
  OnnxConstant y = like(x, dims);
  for_each_number(dims, {moved}, [&](int64_t place, const Sizes& at) { copy_number(y, place, x, at[0]); });
  return y;
}

OnnxConstant expanded(const OnnxNode&, const Inputs& inputs) {
  const OnnxConstant& x = required(inputs, 0);
  const Sizes dims = broadcast(x.dims, wholes(inputs, 1));
  if (dims == x.dims) return x;  // by its name
  OnnxConstant y = like(x, dims);
  for_each_number(dims, {strides_in(x.dims, dims)},
                  [&](int64_t place, const Sizes& at) { copy_number(y, place, x, at[0]); });
  return y;
}

OnnxConstant constant_of_shape(const OnnxNode& node, const Inputs& inputs) {
  const onnx::TensorProto* value = node.tensor("value");
  OnnxConstant one{.dims = {1}, .numbers = {0.0f}};
  if (value) one = constant_of(*value, {});
  ESP_CHECK(one.elements() == 1, "its value is not one number");
  OnnxConstant y = like(one, wholes(inputs, 0));
  for (int64_t i = 0; i < y.elements(); ++i) copy_number(y, i, one, 0);
  return y;
}

OnnxConstant equal(const OnnxNode&, const Inputs& inputs) {
  const OnnxConstant &a = required(inputs, 0), &b = required(inputs, 1);
  const Sizes dims = broadcast(a.dims, b.dims);
  OnnxConstant y{.dims = dims, .integers = std::vector<int64_t>(static_cast<size_t>(product(dims)))};
  for_each_number(dims, {strides_in(a.dims, dims), strides_in(b.dims, dims)},
                  [&](int64_t place, const Sizes& at) {
                    y.integers[static_cast<size_t>(place)] = number(a, at[0]) == number(b, at[1]);
                  });
  return y;
}

OnnxConstant where(const OnnxNode&, const Inputs& inputs) {
  const OnnxConstant &a = required(inputs, 1), &b = required(inputs, 2);
  const Sizes& which = wholes(inputs, 0);
  ESP_CHECK(a.is_whole() == b.is_whole(), "its inputs are of different types");
  const Sizes& of = required(inputs, 0).dims;
  const Sizes dims = broadcast(broadcast(a.dims, b.dims), of);
  OnnxConstant y = like(a, dims);
  for_each_number(dims, {strides_in(of, dims), strides_in(a.dims, dims), strides_in(b.dims, dims)},
                  [&](int64_t place, const Sizes& at) {
                    const bool first = which[static_cast<size_t>(at[0])] != 0;
                    copy_number(y, place, first ? a : b, first ? at[1] : at[2]);
                  });
  return y;
}

OnnxConstant range(const OnnxNode&, const Inputs& inputs) {
  const auto one = [&](size_t i) {
    ESP_CHECK(wholes(inputs, i).size() == 1, "its input ", i, " is not one number");
    return wholes(inputs, i)[0];
  };
  const int64_t start = one(0), end = one(1), step = one(2);
  ESP_CHECK(step > 0 && start >= 0 && end <= max_elements, "from ", start, " to ", end, " by ", step);
  OnnxConstant y{.dims = {}};
  for (int64_t i = start; i < end && i <= max_elements; i += std::min(step, max_elements + 1))
    y.integers.push_back(i);
  y.dims = {std::ssize(y.integers)};
  return y;
}

OnnxConstant product_of(const OnnxNode&, const Inputs& inputs) {
  ESP_CHECK(required(inputs, 0).dims.size() <= 1, "of more than one axis");
  return {.dims = {}, .integers = {product(wholes(inputs, 0))}};
}

OnnxConstant constant(const OnnxNode& node, const Inputs&) {
  if (const onnx::TensorProto* value = node.tensor("value")) {
    OnnxConstant made = constant_of(*value, {});
    made.name = node.output();
    return made;
  }
  if (const auto value = node.real("value_float"))
    return {.dims = {}, .numbers = {*value}, .name = node.output()};
  if (const auto value = node.whole("value_int"))
    return {.dims = {}, .integers = {*value}, .name = node.output()};
  const auto list = node.list("value_ints");
  ESP_CHECK(list, "has no 'value', 'value_float', 'value_int' or 'value_ints'");
  return {.dims = {std::ssize(*list)}, .integers = *list, .name = node.output()};
}

using Fold = OnnxConstant (*)(const OnnxNode&, const Inputs&);

const std::map<std::string, Fold>& rules() {
  static const std::map<std::string, Fold> all = {
      {"Add", by_arithmetic},
      {"Cast", cast},
      {"Concat", concat},
      {"Constant", constant},
      {"ConstantOfShape", constant_of_shape},
      {"Div", by_arithmetic},
      {"Equal", equal},
      {"Expand", expanded},
      {"Floor", by_number},
      {"Gather", gather},
      {"Identity", [](const OnnxNode&, const Inputs& inputs) { return required(inputs, 0); }},
      {"Mul", by_arithmetic},
      {"Neg", by_number},
      {"Pow", by_arithmetic},
      {"Range", range},
      {"Reciprocal", by_number},
      {"ReduceProd", product_of},
      {"Reshape", reshape},
      {"Slice", slice},
      {"Sqrt", by_number},
      {"Squeeze", squeezed},
      {"Sub", by_arithmetic},
      {"Transpose", transposed},
      {"Unsqueeze", unsqueezed},
      {"Where", where}};
  return all;
}

}  // namespace

bool folds(const std::string& op) { return rules().contains(op); }

std::optional<OnnxConstant> folded(const OnnxNode& node, const Inputs& inputs) {
  const auto rule = rules().find(node.op);
  if (rule == rules().end() || node.outputs.size() != 1) return std::nullopt;
  return rule->second(node, inputs);
}

OnnxConstant constant_of_sizes(const std::vector<int64_t>& sizes) {
  return {.dims = {std::ssize(sizes)}, .integers = sizes};
}

size_t onnx_axis(int64_t axis, size_t axes) {
  const int64_t at = axis < 0 ? axis + static_cast<int64_t>(axes) : axis;
  ESP_CHECK(at >= 0 && at < static_cast<int64_t>(axes), "axis ", axis, " of ", axes);
  return static_cast<size_t>(at);
}

std::vector<int64_t> unsqueezed_sizes(const std::vector<int64_t>& dims, const OnnxNumbers& axes) {
  ESP_CHECK(axes, "does not say its axes");
  std::vector<char> is_new(dims.size() + axes->size(), 0);
  for (const int64_t axis : *axes) is_new[onnx_axis(axis, is_new.size())] = 1;
  std::vector<int64_t> sizes;
  size_t from = 0;
  for (const char one : is_new) {
    ESP_CHECK(one || from < dims.size(), "names an axis twice");
    sizes.push_back(one ? 1 : dims[from++]);
  }
  return sizes;
}

std::vector<OnnxRange> slice_ranges(std::vector<int64_t> dims, const OnnxNumbers& starts,
                                    const OnnxNumbers& ends, const OnnxNumbers& axes,
                                    const OnnxNumbers& steps) {
  ESP_CHECK(starts && ends && starts->size() == ends->size() && (!axes || axes->size() == starts->size()) &&
                (!steps || steps->size() == starts->size()),
            "its starts and ends are not as many");
  std::vector<OnnxRange> ranges;
  for (size_t i = 0; i < starts->size(); ++i) {
    const size_t axis = onnx_axis(axes ? (*axes)[i] : static_cast<int64_t>(i), dims.size());
    ESP_CHECK(!steps || (*steps)[i] == 1, "takes steps of ", steps ? (*steps)[i] : 1, ", expected 1");
    const int64_t size = dims[axis];
    const auto within = [size](int64_t at) { return std::clamp(at < 0 ? at + size : at, int64_t{0}, size); };
    const int64_t first = within((*starts)[i]);
    dims[axis] = std::max<int64_t>(0, within((*ends)[i]) - first);
    ranges.push_back({axis, first, dims[axis]});
  }
  return ranges;
}

}  // namespace espalier
