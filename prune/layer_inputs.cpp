#include "espalier/prune/layer_inputs.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "espalier/core/parallel.h"
#include "espalier/graph/op.h"
#include "espalier/nn/network.h"
#include "espalier/prune/compensate.h"
#include "espalier/prune/unit.h"

namespace espalier {
namespace {

/// The inputs of a layer whose weights are [O,..,I]: of image rows, or of patches of images.
struct LayerInputs {
  LayerInputs(const OpCall& call, const Tensor& values, const Shape& weight)
      : x(values.to(Device::cpu)), inputs(weight[-1]) {
    if (weight.axes() != 4) {
      rows = x.elements() / inputs;
      return;
    }
    const Shape& from = x.shape();
    const ByAxis stride = call.by_axis("stride"), dilation = call.by_axis("dilation");
    const Padding pad = call.by_side("pad");
    h = from[1], w = from[2], channels = from[3], groups = channels / inputs;
    down = {weight[1], stride.down, dilation.down, pad.top, pad.bottom};
    across = {weight[2], stride.across, dilation.across, pad.left, pad.right};
    out_h = down.out(h), out_w = across.out(w);
    rows = from[0] * out_h * out_w;
    is_image = true;
  }

  int64_t size() const { return down.size * across.size * inputs; }

  /// Row `row` of a group's patches, [Kh,Kw,I]; zeros outside the image.
  void read(int64_t row, int64_t group, float* to) const {
    if (!is_image) {
      std::copy_n(x.f32() + row * inputs, inputs, to);
      return;
    }
    const int64_t n = row / (out_h * out_w), i = row / out_w % out_h, j = row % out_w;
    for (int64_t k = 0; k < down.size; ++k)
      for (int64_t l = 0; l < across.size; ++l, to += inputs) {
        const int64_t v = i * down.stride - down.before + k * down.dilation,
                      u = j * across.stride - across.before + l * across.dilation;
        if (v >= 0 && v < h && u >= 0 && u < w)
          std::copy_n(x.f32() + ((n * h + v) * w + u) * channels + group * inputs, inputs, to);
        else
          std::fill_n(to, inputs, 0.0f);
      }
  }

  Tensor x;
  int64_t inputs, groups = 1, rows = 0;
  int64_t h = 1, w = 1, channels = 1, out_h = 1, out_w = 1;
  WindowAxis down{1}, across{1};
  bool is_image = false;
};

/// Sees the inputs of each convolution and linear layer, batch by batch.
void for_layer_inputs(Module& model, const Shape& input, const SignalData& data,
                      const std::function<void(const Parameter& weight, const LayerInputs&)>& see) {
  const Graph graph = Network(model, input).graph;
  const NoGradient off;
  std::vector<const GraphNode*> last_reader(graph.values.size());
  for (const GraphNode& node : graph.nodes)
    for (const int value : node.present()) last_reader[static_cast<size_t>(value)] = &node;
  for (int64_t i = 0; i < data.batches; ++i) {
    std::vector<Variable> values(graph.values.size());
    values[0] = Variable(data.batch(i).images);
    for (size_t v = 1; v < values.size(); ++v)
      if (graph.is_parameter(static_cast<int>(v)))
        values[v] = model.find(graph.values[v].parameter)->variable;
    for (const GraphNode& node : graph.nodes) {
      const Op* op = find_op(node.op);
      ESP_CHECK(op && op->run, "prune: what comes into layers is seen as the network's graph runs, and op ",
                node.op, " is none of Espalier's");
      const OpCall call(graph, node, *op);
      for (size_t k = 0; k < node.inputs.size() && k < op->inputs.size(); ++k)
        if (op->inputs[k].role == Role::weight) {
          const Parameter& weight = *model.find(graph.values[static_cast<size_t>(node.inputs[k])].parameter);
          see(weight,
              LayerInputs(call, values[static_cast<size_t>(call.input("x"))].value(), weight.shape()));
        }
      values[static_cast<size_t>(node.output)] = op->run({call, inputs_of(node, values)});
      for (const int value : node.present())
        if (last_reader[static_cast<size_t>(value)] == &node) values[static_cast<size_t>(value)] = {};
    }
  }
}

/// `numbers`, one row [Kh Kw I] for each group, for each of the weight's filters.
Tensor for_filters(const Parameter& weight, const std::vector<double>& numbers, int64_t groups) {
  Tensor made = Tensor::empty(weight.shape());
  const int64_t filters = weight.shape()[0], size = weight.shape().row_elements();
  for (int64_t o = 0; o < filters; ++o)
    for (int64_t j = 0; j < size; ++j)
      made.f32()[o * size + j] =
          static_cast<float>(numbers[static_cast<size_t>(o * groups / filters * size + j)]);
  return made;
}

/// What a layer's inputs add up to.
struct Sums {
  std::vector<double> values;
  int64_t groups = 1, rows = 0;
};

/// Adds X'X of a layer's inputs, in the order that `line` has the last axis in, to the upper triangles.
void add_products(const LayerInputs& inputs, const std::vector<int64_t>& line, Sums& sums) {
  constexpr int64_t at_once = 64;  // rows, which are read once for all columns
  const int64_t size = inputs.size();
  std::vector<float> x(static_cast<size_t>(at_once * size)), read(static_cast<size_t>(size));
  for (int64_t g = 0; g < inputs.groups; ++g) {
    double* const h = sums.values.data() + g * size * size;
    for (int64_t first = 0; first < inputs.rows; first += at_once) {
      const int64_t rows = std::min(at_once, inputs.rows - first);
      for (int64_t r = 0; r < rows; ++r) {
        inputs.read(first + r, g, read.data());
        float* const to = x.data() + r * size;
        for (size_t j = 0; j < read.size(); ++j) to[j] = read[in_memory(j, line)];
      }
      parallel_for(size, 16, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          for (int64_t r = 0; r < rows; ++r) {
            const float* const row = x.data() + r * size;
            const double xi = row[i];
            if (xi == 0) continue;
            for (int64_t j = i; j < size; ++j) h[i * size + j] += xi * row[j];
          }
      });
    }
  }
}

}  // namespace

Signals input_norms(Module& model, const Shape& input, const Criterion&, const SignalData& data) {
  std::map<const Parameter*, Sums> sums;
  for_layer_inputs(model, input, data, [&](const Parameter& weight, const LayerInputs& inputs) {
    Sums& sum = sums[&weight];
    const int64_t size = inputs.size();
    sum.groups = inputs.groups;
    sum.values.resize(static_cast<size_t>(inputs.groups * size));
    std::vector<float> row(static_cast<size_t>(size));
    for (int64_t g = 0; g < inputs.groups; ++g)
      for (int64_t r = 0; r < inputs.rows; ++r) {
        inputs.read(r, g, row.data());
        double* const to = sum.values.data() + g * size;
        for (int64_t j = 0; j < size; ++j)
          to[j] += static_cast<double>(row[static_cast<size_t>(j)]) * row[static_cast<size_t>(j)];
      }
  });
  Signals signals;
  for (auto& [weight, sum] : sums) {
    for (double& value : sum.values) value = std::sqrt(value);
    signals.of_parameters[weight] = for_filters(*weight, sum.values, sum.groups);
  }
  return signals;
}

Signals input_products(Module& model, const Shape& input, const Criterion& criterion,
                       const SignalData& data) {
  std::map<const Parameter*, Sums> sums;
  for_layer_inputs(model, input, data, [&](const Parameter& weight, const LayerInputs& inputs) {
    Sums& sum = sums[&weight];
    sum.groups = inputs.groups;
    sum.rows += inputs.rows;
    sum.values.resize(static_cast<size_t>(inputs.groups * inputs.size() * inputs.size()));
    add_products(inputs, line_of(weight), sum);
  });
  const double damping = criterion.all_options().number("damping");
  Signals signals;
  for (auto& [weight, sum] : sums) {
    const int64_t size = weight->shape().row_elements();
    const std::vector<int64_t> line = line_of(*weight);
    std::vector<double> costs(static_cast<size_t>(sum.groups * size));
    std::vector<char> silent(costs.size());
    for (double& value : sum.values) value *= 2.0 / static_cast<double>(sum.rows);
    for (int64_t g = 0; g < sum.groups; ++g) {
      double* const h = sum.values.data() + g * size * size;
      for (int64_t j = 0; j < size; ++j) silent[static_cast<size_t>(g * size + j)] = h[j * size + j] == 0;
      factor_of_inverse(h, size, damping);
      for (int64_t j = 0; j < size; ++j)
        if (!silent[static_cast<size_t>(g * size + j)])
          costs[in_memory(static_cast<size_t>(g * size + j), line)] = 1 / (h[j * size + j] * h[j * size + j]);
    }
    signals.of_parameters[weight] = for_filters(*weight, costs, sum.groups);
    signals.matrices[weight] = {size, std::move(sum.values), std::move(silent)};
  }
  return signals;
}

}  // namespace espalier
