#include "espalier/onnx/import_ops.h"

namespace espalier {
namespace {

const OnnxHandlers& handlers() {
  static const OnnxHandlers all = [] {
    OnnxHandlers joined;
    for (const auto family : {onnx_layers, onnx_elementwise, onnx_pooling, onnx_shapes})
      joined.merge(family());
    return joined;
  }();
  return all;
}

}  // namespace

OnnxHandler onnx_handler(const std::string& op) {
  const auto found = handlers().find(op);
  return found == handlers().end() ? nullptr : found->second;
}

std::vector<std::string> known_onnx_ops() {
  std::vector<std::string> names;
  for (const auto& [name, handler] : handlers()) names.push_back(name);
  return names;
}

}  // namespace espalier
