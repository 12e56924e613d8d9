// Files that hold a network and its weights: safetensors files whose metadata have the network's graph, and
// what a library above this one adds, by what its files' names end with (onnx/).
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "espalier/formats/safetensors.h"

namespace espalier {

/// What such a file holds, as a safetensors file of ours would: tensors by name, and the graph, the data's
/// normalisation and the classes among the metadata (docs/formats.md). While a MetaDevice (core/tensor.h) is
/// alive tensors have no memory.
using NetworkReader = std::function<TensorFile(const std::filesystem::path&)>;

/// `ending`: ".onnx". One that is known already is read so from here on.
void add_network_format(const std::string& ending, NetworkReader read);

/// Of a file of any format that was added; of others read_safetensors (formats/safetensors.h).
TensorFile read_network(const std::filesystem::path& file);
/// The same with shapes alone: no tensor takes memory.
TensorFile read_network_header(const std::filesystem::path& file);
/// Whether files whose names end so hold networks.
bool is_network_file(const std::filesystem::path& file);

}  // namespace espalier
