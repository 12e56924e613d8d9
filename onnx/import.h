// ONNX in: an ONNX file becomes a Graph, which trains, is pruned and cut like any other, and its numbers.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "espalier/formats/safetensors.h"
#include "espalier/nn/graph_module.h"

namespace espalier {

/// A network as an ONNX file has it, with our images [N,H,W,C].
struct OnnxNetwork {
  Graph graph;
  NamedTensors tensors;  ///< of its parameters and buffers, by name, as load_state_dict wants them
  std::vector<std::string> classes = {};  ///< what export_onnx wrote of the data; none in files of others
  std::vector<double> mean = {}, std = {};
  bool normalized_images = false;       ///< its first ops did that: mean and std are theirs
  std::vector<std::string> notes = {};  ///< what a person is to know: what was left out, what was assumed
};

/// Reads a network whose images are `image`, [H,W,C]; without any, as the file says them, of 3 channels.
///
/// Nodes become ops (ops.h), constants are folded, and Transposes only change how a value is said to lie
/// (layout.h). A norm or an activation that only follows one layer is part of it, so that it runs as fast as
/// a network of the zoo. Names of parameters are the file's; where those are numbers, as exporters make them,
/// names of nodes.
///
/// Error that names the file and the node, and, of ops that are not known, all of them.
OnnxNetwork import_onnx(const std::filesystem::path& file, const Shape& image = {});

/// The same as a weights file of ours would have it, for read_network (nn/network_formats.h): graph, tensors,
/// and what is known of the data.
TensorFile onnx_tensor_file(const std::filesystem::path& file);

/// The network with its numbers.
std::unique_ptr<GraphModule> make_module(const OnnxNetwork& network, const std::string& source);

}  // namespace espalier
