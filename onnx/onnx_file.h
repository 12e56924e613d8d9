// ONNX files (github.com/onnx/onnx) as protobuf messages: read with all that could be wrong with one that is
// no ONNX file, and its tensors' numbers, which may lie in files beside it; written all or nothing.
#pragma once

#include <onnx/onnx_pb.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "espalier/util/atomic_file.h"

namespace espalier {

/// Numbers that an ONNX file holds, or that can be computed from them: f32 or whole ones, which also no
/// numbers are.
struct OnnxConstant {
  std::vector<int64_t> dims;
  std::vector<float> numbers = {};     ///< none: they are whole
  std::vector<int64_t> integers = {};  ///< of all whole types
  std::string name = {};               ///< of the initializer; empty for one that was computed

  bool is_whole() const { return numbers.empty(); }
  int64_t elements() const { return is_whole() ? std::ssize(integers) : std::ssize(numbers); }
};

/// Whether a TensorProto's data type is one of floats, which are all f32 here.
bool is_real_type(int64_t type);

/// The model in a file. Error that names the file for what is none, or is cut short. Whole files only:
/// protobuf's limit is 2 GB; larger networks have their numbers beside it.
onnx::ModelProto read_onnx(const std::filesystem::path& file);

/// A tensor's numbers: f64, f16 and bf16 become f32. What lies beside the file is looked for in `folder`, and
/// only there. Error, without a place, for types that are not known and for numbers that are not as many as
/// its shape says.
OnnxConstant constant_of(const onnx::TensorProto& tensor, const std::filesystem::path& folder);

/// Writes a file, atomically. Error for more than protobuf's 2 GB.
void write_onnx(const OutputPath& to, const onnx::ModelProto& model);

}  // namespace espalier
