#include "espalier/onnx/import.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "espalier/config/json.h"
#include "espalier/core/reason.h"
#include "espalier/graph/graph_json.h"
#include "espalier/onnx/fold.h"
#include "espalier/onnx/import_ops.h"
#include "espalier/onnx/importer.h"
#include "espalier/onnx/metadata.h"
#include "espalier/onnx/patterns.h"
#include "espalier/onnx/tidy.h"
#include "espalier/util/error.h"
#include "espalier/util/spelling.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

constexpr int max_named = 20;      // nodes in one message
constexpr int max_nodes = 10'000;  // some steps look at all nodes for each
constexpr int64_t min_opset = 9;
constexpr int64_t max_folded = int64_t{1} << 27;  // numbers that are computed from others, in all
constexpr int64_t max_side = 1 << 16;

/// A file's graph, its constants apart.
struct Parts {
  std::vector<OnnxNode> nodes;
  const onnx::ValueInfoProto* input = nullptr;
  std::string output;
};

/// At the node an Error came from.
template <class Body>
auto at_node(const std::string& file, const OnnxNode& node, const Body& body) {
  try {
    return body();
  } catch (const Error& error) {
    fail(file, ": ", node.str(), ": ", error.what());
  }
}

void add_initializers(const onnx::GraphProto& graph, const std::string& file, OnnxImporter& importer) {
  for (const onnx::TensorProto& tensor : graph.initializer()) {
    ESP_CHECK(!importer.constant(tensor.name()), file, ": '", printable(tensor.name()), "' is there twice");
    try {
      importer.add_constant(tensor.name(), constant_of(tensor, importer.folder()));
    } catch (const std::exception& error) {
      fail(file, ": '", printable(tensor.name()), "' ", reason_of(error));
    }
  }
  ESP_CHECK(graph.sparse_initializer_size() == 0, file, ": has sparse initializers, which are not known");
}

int64_t opset_of(const onnx::ModelProto& model, const std::string& file) {
  int64_t opset = 0;
  for (const auto& set : model.opset_import())
    if (set.domain().empty() || set.domain() == "ai.onnx") opset = set.version();
  ESP_CHECK(opset >= min_opset, file, ": is of opset ", opset, ", expected ", min_opset, " or later");
  return opset;
}

/// Every name is made once, before it is read.
void check_order(const std::vector<OnnxNode>& nodes, const std::string& input, const std::string& file,
                 const OnnxImporter& importer) {
  std::set<std::string> made, later;
  for (const OnnxNode& node : nodes)
    for (const std::string& name : node.outputs) later.insert(name);
  const auto is_known = [&](const std::string& name) {
    return name.empty() || name == input || made.contains(name) || importer.constant(name);
  };
  for (const OnnxNode& node : nodes) {
    for (const std::string& name : node.inputs)
      ESP_CHECK(is_known(name), file, ": ", node.str(), ": reads '", printable(name),
                later.contains(name) ? "', which is made after it" : "', which nothing makes");
    for (const std::string& name : node.outputs)
      ESP_CHECK(name.empty() || (!is_known(name) && made.insert(name).second), file, ": ", node.str(),
                ": makes '", printable(name), "', which is there already");
  }
}

Parts parts_of(const onnx::ModelProto& model, const std::string& file, OnnxImporter& importer) {
  const onnx::GraphProto& graph = model.graph();
  add_initializers(graph, file, importer);
  ESP_CHECK(graph.node_size() <= max_nodes, file, ": has ", graph.node_size(), " nodes, expected at most ",
            max_nodes);
  importer.opset = opset_of(model, file);
  Parts parts;
  for (const onnx::ValueInfoProto& input : graph.input()) {
    if (importer.constant(input.name())) continue;  // older exporters list initializers as inputs
    ESP_CHECK(!parts.input, file, ": has several inputs, '",
              printable(parts.input ? parts.input->name() : ""), "' and '", printable(input.name()),
              "', expected one of images");
    parts.input = &input;
  }
  ESP_CHECK(parts.input, file, ": has no input");
  ESP_CHECK(graph.output_size() == 1, file, ": has ", graph.output_size(),
            " outputs, expected one, of logits");
  parts.output = graph.output(0).name();
  for (const onnx::NodeProto& node : graph.node()) {
    const bool is_onnx = node.domain().empty() || node.domain() == "ai.onnx";
    parts.nodes.emplace_back(node);
    if (!is_onnx) parts.nodes.back().op = node.domain() + "." + node.op_type();
  }
  check_order(parts.nodes, parts.input->name(), file, importer);
  parts.nodes = needed_for(parts.output, std::move(parts.nodes));
  return parts;
}

/// Nodes of only constants become constants.
void fold_constants(std::vector<OnnxNode>& nodes, const std::string& file, OnnxImporter& importer) {
  int64_t folded_numbers = 0;
  std::erase_if(nodes, [&](const OnnxNode& node) {
    std::vector<const OnnxConstant*> inputs;
    for (const std::string& name : node.inputs) {
      inputs.push_back(importer.constant(name));
      if (!name.empty() && !inputs.back()) return false;
    }
    if (node.inputs.empty() && node.op != "Constant") return false;
    auto constant = at_node(file, node, [&] { return folded(node, inputs); });
    if (!constant) return false;
    folded_numbers += constant->elements();
    ESP_CHECK(folded_numbers <= max_folded, file, ": ", node.str(), ": makes more constants than the ",
              max_folded, " numbers that a file may");
    importer.add_constant(node.output(), std::move(*constant));
    return true;
  });
}

/// Error that names all nodes of ops that are not known.
void check_known(const std::vector<OnnxNode>& nodes, const std::string& file) {
  std::map<std::string, std::vector<std::string>> unknown;
  for (const OnnxNode& node : nodes)
    if (!onnx_handler(node.op) && !folds(node.op))
      unknown[node.op].push_back(node.name.empty() ? node.output() : node.name);
  if (unknown.empty()) return;
  std::vector<std::string> ops;
  for (const auto& [op, names] : unknown) {
    std::vector<std::string> shown;
    for (const std::string& name : names)
      if (std::ssize(shown) < max_named) shown.push_back("'" + printable(name) + "'");
    if (names.size() > shown.size()) shown.push_back(join(names.size() - shown.size(), " more"));
    ops.push_back(join(printable(op), " (", enumerated(shown), ")", did_you_mean(op, known_onnx_ops())));
  }
  fail(file, ": ", unknown.size(), unknown.size() == 1 ? " op is" : " ops are",
       " not known: ", enumerated(ops));
}

/// The image's sizes as the file has them, -1 for one that it leaves open.
OnnxDims sizes_of(const onnx::ValueInfoProto& input, const std::string& file) {
  const auto& type = input.type().tensor_type();
  ESP_CHECK(type.elem_type() == onnx::TensorProto::FLOAT || type.elem_type() == onnx::TensorProto::FLOAT16 ||
                type.elem_type() == onnx::TensorProto::DOUBLE,
            file, ": its input '", printable(input.name()), "' is of type ", type.elem_type(),
            ", expected floats");
  OnnxDims sizes;
  for (const auto& dim : type.shape().dim())
    sizes.push_back(dim.has_dim_value() && dim.dim_value() > 0 ? dim.dim_value() : -1);
  return sizes;
}

/// [N,C,H,W], but where only the last axis looks like colours, or only then the sizes are those that are
/// `wanted`.
OnnxLayout layout_of_images(const OnnxDims& sizes, const Shape& wanted) {
  const auto fits = [&](const OnnxLayout& layout) {
    for (int axis = 1; axis < 4; ++axis) {
      const int64_t size = sizes[static_cast<size_t>(layout[static_cast<size_t>(axis)])];
      if (size != -1 && size != wanted[axis - 1]) return false;
    }
    return true;
  };
  const OnnxLayout last = plain_layout(4);
  if (wanted.axes() == 3) return fits(last) && !fits(image_layout) ? last : image_layout;
  const auto is_color = [](int64_t channels) { return channels == 1 || channels == 3; };
  return is_color(sizes[3]) && sizes[1] > 0 && !is_color(sizes[1]) ? last : image_layout;
}

/// The images that a network takes: value 0 of its graph.
OnnxValue images_of(const Parts& parts, const Shape& wanted, const std::string& file, Variable& images) {
  OnnxDims sizes = sizes_of(*parts.input, file);
  const bool is_image = sizes.size() == 4, is_row = sizes.size() == 2;
  ESP_CHECK(is_image || is_row, file, ": its input '", printable(parts.input->name()), "' has ", sizes.size(),
            " axes, expected images [N,C,H,W] or rows [N,features]");
  const auto make = [&](int64_t h, int64_t w, int64_t c) {
    images = Variable(Tensor::empty({1, h, w, c}, DType::f32, Device::meta));
  };
  if (is_row) {
    ESP_CHECK(wanted.axes() == 3, file, ": takes rows of ", sizes[1],
              " numbers: --input HEIGHTxWIDTHxCHANNELS says of which images");
    ESP_CHECK(sizes[1] == -1 || sizes[1] == wanted.elements(), file, ": takes rows of ", sizes[1],
              " numbers, found images of ", wanted);
    make(wanted[0], wanted[1], wanted[2]);
    return {.variable = ops::flatten(images),
            .dims = {1, wanted.elements()},
            .layout = plain_layout(2),
            .positions = wanted[2] > 1 ? wanted[0] * wanted[1] : 1};
  }
  sizes[0] = 1;
  const OnnxLayout layout = layout_of_images(sizes, wanted);
  for (int axis = 1; axis < 4; ++axis) {
    int64_t& size = sizes[static_cast<size_t>(layout[static_cast<size_t>(axis)])];
    const int64_t asked = wanted.axes() == 3 ? wanted[axis - 1] : axis == 3 && size == -1 ? 3 : size;
    ESP_CHECK(asked <= max_side, file, ": takes images of ", asked, " pixels a side, expected at most ",
              max_side);
    ESP_CHECK(asked > 0, file,
              ": leaves the sizes of its images open: --input HEIGHTxWIDTHxCHANNELS says them");
    ESP_CHECK(size == -1 || size == asked, file, ": takes images of ", sizes[static_cast<size_t>(layout[1])],
              "x", sizes[static_cast<size_t>(layout[2])], "x", sizes[static_cast<size_t>(layout[3])],
              ", found ", wanted);
    size = asked;
  }
  const OnnxDims memory = in_memory(sizes, layout);
  make(memory[1], memory[2], memory[3]);
  return {.variable = images, .dims = sizes, .layout = layout};
}

/// Softmax, which losses have, is left out at the end, and what does nothing after it.
void leave_out_softmax(Parts& parts, OnnxImporter& importer) {
  const auto ends_with = [&](const char* op) {
    return !parts.nodes.empty() && parts.nodes.back().op == op && parts.nodes.back().output() == parts.output;
  };
  const auto drop = [&] {
    parts.output = parts.nodes.back().input(0);
    parts.nodes.pop_back();
  };
  while (ends_with("Identity")) drop();
  if (!ends_with("Softmax") && !ends_with("LogSoftmax")) return;
  const int64_t axis = parts.nodes.back().whole("axis").value_or(importer.opset < 13 ? 1 : -1);
  if (axis != 1 && axis != -1) return;  // of a row of logits, [N,K], both are the classes'
  importer.note_once(parts.nodes.back().str() + " at the end is left out: a network here puts out logits");
  drop();
}

/// (x - mean) / std of the images themselves is the data's normalisation, where the file has no other.
void take_normalization(Parts& parts, const Shape& wanted, const std::string& file, OnnxImporter& importer,
                        OnnxNetwork& network) {
  const OnnxDims sizes = sizes_of(*parts.input, file);
  if (!network.mean.empty() || sizes.size() != 4 || layout_of_images(sizes, wanted) != image_layout) return;
  const int64_t said = wanted.axes() == 3 ? wanted[2] : sizes[1];
  const auto channels = static_cast<size_t>(said > 0 ? said : 3);
  const auto reader = [&](const std::string& name) -> const OnnxNode* {
    const OnnxNode* only = nullptr;
    for (const OnnxNode& node : parts.nodes)
      if (std::ranges::count(node.inputs, name) > 0) {
        if (only) return nullptr;
        only = &node;
      }
    return only;
  };
  const auto numbers = [&](const OnnxNode* node) -> std::vector<double> {
    const OnnxConstant* found = importer.constant(node->input(1));
    if (!found || found->is_whole() || found->dims.size() > 4) return {};
    if (found->elements() == 1) return std::vector<double>(channels, found->numbers[0]);
    OnnxDims dims(4 - found->dims.size(), 1);
    dims.insert(dims.end(), found->dims.begin(), found->dims.end());
    if (dims != OnnxDims{1, static_cast<int64_t>(channels), 1, 1}) return {};
    return {found->numbers.begin(), found->numbers.end()};
  };
  const OnnxNode* minus = reader(parts.input->name());
  if (!minus || minus->op != "Sub" || minus->input(0) != parts.input->name() ||
      minus->output() == parts.output)
    return;
  const OnnxNode* over = reader(minus->output());
  if (!over || over->op != "Div" || over->input(0) != minus->output() || over->output() == parts.output)
    return;
  std::vector<double> mean = numbers(minus), std = numbers(over);
  if (mean.empty() || std.empty() || std::ranges::any_of(std, [](double one) { return !(one > 0); })) return;
  network.mean = std::move(mean);
  network.std = std::move(std);
  network.normalized_images = true;
  importer.note_once(
      "the normalisation of its images, which its first two ops do, is the data's from here on");
  const std::string images = over->output(), first = minus->output(), input = parts.input->name();
  std::erase_if(parts.nodes,
                [&](const OnnxNode& node) { return node.output() == images || node.output() == first; });
  for (OnnxNode& node : parts.nodes) std::ranges::replace(node.inputs, images, input);
}

/// The logits [1,K] as the last op's output.
Graph traced(const Parts& parts, const Shape& image, const std::string& file, OnnxImporter& importer) {
  const NoGradient off;
  Trace trace;
  Variable images;
  importer.put(parts.input->name(), images_of(parts, image, file, images));
  for (const OnnxNode& node : parts.nodes) {
    at_node(file, node, [&] {
      std::vector<const OnnxConstant*> inputs;
      bool is_constant = !node.inputs.empty();
      for (const std::string& name : node.inputs) {
        inputs.push_back(importer.constant(name));
        is_constant = is_constant && (name.empty() || inputs.back());
      }
      auto constant = is_constant ? folded(node, inputs) : std::nullopt;
      if (constant) return importer.add_constant(node.output(), std::move(*constant));
      const OnnxHandler handler = onnx_handler(node.op);
      ESP_CHECK(handler, "of what depends on the images, expected constants");
      handler(importer, node);
    });
  }
  const OnnxValue* found = importer.value(parts.output);
  ESP_CHECK(found, file, ": its output '", printable(parts.output), "' does not depend on the images");
  const OnnxDims& dims = found->dims;
  const bool is_row = dims.size() == 2 || (dims.size() == 4 && dims[2] == 1 && dims[3] == 1);
  ESP_CHECK(is_row && dims[0] == 1, file, ": puts out ", Shape(std::span<const int64_t>(dims)),
            " for an image, expected a row of logits [N,classes]");
  OnnxValue logits = *found;
  if (logits.positions > 1) logits = importer.plain(logits);
  if (dims.size() == 4) logits = importer.reshaped(logits, {1, dims[1]});
  trace.close();
  Graph graph = trace.graph;
  ESP_CHECK(!graph.nodes.empty() && graph.values[0].parameter.empty() && graph.shape(0) == images.shape(),
            file, ": its first op does not read the images");
  const int last = graph.nodes.back().output;
  ESP_CHECK(graph.shape(last) == logits.variable.shape() && graph.readers_of(last).empty(), file,
            ": its output is not what its last op puts out");
  const auto named = [](const std::string& name, const char* otherwise) {
    return is_utf8(name) ? name : otherwise;
  };
  graph.input_name = named(parts.input->name(), "images");
  graph.output_name = named(parts.output, "logits");
  return graph;
}

}  // namespace

OnnxNetwork import_onnx(const std::filesystem::path& path, const Shape& image) {
  const std::string file = printable(path.string());
  const onnx::ModelProto model = read_onnx(path);
  OnnxImporter importer(path.parent_path());
  Parts parts = parts_of(model, file, importer);
  OnnxNetwork network;
  read_metadata(model, file, network);
  fold_constants(parts.nodes, file, importer);
  take_normalization(parts, image, file, importer, network);
  parts.nodes = simplified(std::move(parts.nodes), parts.output,
                           [&](const std::string& name) { return importer.constant(name); });
  leave_out_softmax(parts, importer);
  check_known(parts.nodes, file);
  std::set<std::string> names{parts.output};
  for (const OnnxNode& node : parts.nodes) names.insert(node.inputs.begin(), node.inputs.end());
  importer.set_read(std::move(names));
  network.graph = tidied(traced(parts, image, file, importer));
  network.tensors = importer.take_tensors();
  network.notes = importer.notes;
  // Parameters that were asked for and are not read any more, as a norm's that has gone, are none.
  std::set<std::string> read;
  for (const GraphValue& value : network.graph.values) read.insert(value.parameter);
  std::erase_if(network.tensors, [&](const auto& named) {
    return !read.contains(named.first) && !named.first.ends_with(".num_batches_tracked");
  });
  graph_from_json(to_json(network.graph).dump(), file);  // is what checkpoints may hold
  return network;
}

TensorFile onnx_tensor_file(const std::filesystem::path& path) {
  OnnxNetwork network = import_onnx(path);
  TensorFile file{.tensors = std::move(network.tensors), .metadata = {}};
  file.metadata["espalier.network"] = to_json(network.graph).dump();
  if (!network.classes.empty()) file.metadata["espalier.classes"] = nlohmann::json(network.classes).dump();
  if (!network.mean.empty())
    file.metadata["espalier.normalize"] = nlohmann::json{{"mean", network.mean}, {"std", network.std}}.dump();
  return file;
}

std::unique_ptr<GraphModule> make_module(const OnnxNetwork& network, const std::string& source) {
  auto model = std::make_unique<GraphModule>(network.graph, network.tensors);
  load_state_dict(*model, network.tensors, source);
  return model;
}

}  // namespace espalier
