// What an ONNX file says of the data that its network was trained on, in its metadata: ONNX has no place for
// it.
#pragma once

#include <onnx/onnx_pb.h>

#include <string>

#include "espalier/onnx/export.h"
#include "espalier/onnx/import.h"

namespace espalier {

/// "espalier.normalize": {"mean": [...], "std": [...]}, and "espalier.classes": ["cat", ...].
void write_metadata(const OnnxData& data, onnx::ModelProto& model);
/// Error, which names `file`, for what is no such JSON.
void read_metadata(const onnx::ModelProto& model, const std::string& file, OnnxNetwork& network);

}  // namespace espalier
