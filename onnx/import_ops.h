// What each ONNX op is here, by families of them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "espalier/onnx/importer.h"

namespace espalier {

/// Makes what a node puts out. Error, without the node's name, for what has no such op here.
using OnnxHandler = void (*)(OnnxImporter& importer, const OnnxNode& node);
using OnnxHandlers = std::map<std::string, OnnxHandler>;

OnnxHandlers onnx_layers();       // import_layers.cpp: convolutions, linear layers, norms
OnnxHandlers onnx_elementwise();  // import_elementwise.cpp: activations, arithmetic, softmax
OnnxHandlers onnx_pooling();      // import_pooling.cpp
OnnxHandlers onnx_shapes();       // import_shapes.cpp: reshape, transpose, concat, slices, padding

/// Null for an op that is not known.
OnnxHandler onnx_handler(const std::string& op);
/// Their names, sorted.
std::vector<std::string> known_onnx_ops();

}  // namespace espalier
