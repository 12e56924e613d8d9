#include "espalier/onnx/export.h"

#include "espalier/nn/network.h"
#include "espalier/onnx/exporter.h"
#include "espalier/onnx/metadata.h"
#include "espalier/onnx/onnx_file.h"
#include "espalier/util/error.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

/// The version of the format that an opset came with.
int64_t ir_version(int64_t opset) { return opset <= 14 ? 7 : opset <= 18 ? 8 : opset <= 20 ? 9 : 10; }

void set_type(onnx::ValueInfoProto& to, const std::string& name, const std::vector<int64_t>& sizes,
              std::optional<int64_t> batch) {
  to.set_name(name);
  auto& type = *to.mutable_type()->mutable_tensor_type();
  type.set_elem_type(onnx::TensorProto::FLOAT);
  auto& first = *type.mutable_shape()->add_dim();
  if (batch)
    first.set_dim_value(*batch);
  else
    first.set_dim_param("N");
  for (const int64_t size : sizes) type.mutable_shape()->add_dim()->set_dim_value(size);
}

/// (x - mean) / std, of images of 0 to 1.
std::string normalized(OnnxExporter& out, const std::string& images, const OnnxData& data, int64_t channels) {
  ESP_CHECK(std::ssize(data.mean) == channels && std::ssize(data.std) == channels,
            "onnx: the network says no normalisation of its images, which --normalize would write");
  const auto numbers = [&](const char* name, const std::vector<double>& values) {
    return out.constant(name,
                        Tensor::from({1, channels, 1, 1}, std::vector<float>(values.begin(), values.end())));
  };
  return out.add("Div", {out.add("Sub", {images, numbers("mean", data.mean)}), numbers("std", data.std)});
}

}  // namespace

void export_onnx(const OutputPath& path, Module& model, const Shape& image, const OnnxData& data,
                 const OnnxExportOptions& options) {
  ESP_CHECK(options.opset >= min_onnx_opset && options.opset <= max_onnx_opset, "onnx: found opset ",
            options.opset, ", expected ", min_onnx_opset, " to ", max_onnx_opset);
  ESP_CHECK(!options.batch || *options.batch > 0, "onnx: found a batch of ", options.batch.value_or(0),
            ", expected 1 or more");
  const Graph graph = with_activations_apart(Network(model, image).graph);
  const NamedTensors tensors = state_dict(model);

  onnx::ModelProto made;
  made.set_ir_version(ir_version(options.opset));
  made.set_producer_name("espalier");
  made.add_opset_import()->set_version(options.opset);
  write_metadata(options.normalize ? OnnxData{.classes = data.classes} : data, made);
  onnx::GraphProto& to = *made.mutable_graph();
  to.set_name("network");
  set_type(*to.add_input(), graph.input_name, {image[2], image[0], image[1]}, options.batch);

  OnnxExporter out(graph, tensors, options, to);
  out.put(0, options.normalize ? normalized(out, graph.input_name, data, image[2]) : graph.input_name,
          OnnxExporter::image);
  for (const GraphNode& node : graph.nodes) {
    const OnnxWriter write = onnx_writer(node.op);
    ESP_CHECK(write, "onnx: has no way to write the op '", printable(node.op), "'");
    write(out, OpCall(graph, node, *find_op(node.op)));
  }
  std::string logits = out.value(graph.nodes.back().output, OnnxExporter::as_here);
  if (options.softmax) logits = out.add("Softmax", {logits}, {{"axis", int64_t{-1}}});
  // The last node's output is the graph's.
  const std::string name = options.softmax ? "probabilities" : graph.output_name;
  onnx::NodeProto* last = to.mutable_node(to.node_size() - 1);
  if (last->output(0) == logits) last->set_output(0, name);
  ESP_CHECK(last->output(0) == name, "onnx: the last op is not the network's output");
  set_type(*to.add_output(), name, {graph.outputs()}, options.batch);
  write_onnx(path, made);
}

}  // namespace espalier
