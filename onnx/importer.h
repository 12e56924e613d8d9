// What handlers of ONNX ops (import_ops.h) work with while a file is read.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "espalier/graph/ops.h"
#include "espalier/graph/trace.h"
#include "espalier/nn/state_dict.h"
#include "espalier/onnx/layout.h"
#include "espalier/onnx/node.h"
#include "espalier/onnx/onnx_file.h"

namespace espalier {

/// A value that depends on the images: it is traced, without numbers, for one image.
struct OnnxValue {
  Variable variable;
  OnnxDims dims;
  OnnxLayout layout;
  /// Of features [1,C positions] of a flattened image that lie [positions,C] in memory; 1: as ONNX has them.
  int64_t positions = 1;
};

class OnnxImporter {
 public:
  explicit OnnxImporter(std::filesystem::path folder) : folder_(std::move(folder)) {}

  void add_constant(const std::string& name, OnnxConstant constant) {
    constants_[name] = std::move(constant);
  }
  /// Null for what is none.
  const OnnxConstant* constant(const std::string& name) const;
  const OnnxConstant* constant(const OnnxNode& node, size_t input) const {
    return constant(node.input(input));
  }
  /// Error for what is none: `what` it is to be.
  const OnnxConstant& needed_constant(const OnnxNode& node, size_t input, const char* what) const;
  /// Whole numbers that are an attribute in some opsets, and an input in others.
  std::optional<std::vector<int64_t>> numbers(const OnnxNode& node, const std::string& attribute,
                                              size_t input) const;
  /// One float that is an attribute in some opsets, and an input in others.
  float one_number(const OnnxNode& node, const char* attribute, size_t input, float otherwise) const;

  void put(const std::string& name, OnnxValue value) { values_[name] = std::move(value); }
  void put(const OnnxNode& node, OnnxValue value) { put(node.output(), std::move(value)); }
  /// The same with `variable` in place of its own.
  void put_like(const OnnxNode& node, OnnxValue value, Variable variable);
  bool is_value(const OnnxNode& node, size_t input) const { return values_.contains(node.input(input)); }
  /// As it lies.
  const OnnxValue& value(const OnnxNode& node, size_t input) const;
  const OnnxValue* value(const std::string& name) const;
  /// [1,H,W,C] of an image [1,C,H,W]. Error for another number of axes.
  Variable image(const OnnxNode& node, size_t input);
  /// In that layout, moved there if need be.
  OnnxValue arranged(OnnxValue value, const OnnxLayout& layout);
  /// As ONNX has its axes.
  OnnxValue plain(OnnxValue value) { return arranged(value, plain_layout(value.dims.size())); }
  /// Of those sizes, numbers in ONNX's order.
  OnnxValue reshaped(OnnxValue value, const OnnxDims& dims);
  void put_image(const OnnxNode& node, Variable variable);

  /// A layer's parameter: `numbers` in the shape that files have, of that name if no other has it. Memory's
  /// shape may be another (state_dict.h). Numbers that were asked for before are the same parameter.
  Variable parameter(const std::string& name, const OnnxConstant& numbers, const Shape& file,
                     const Shape& memory);
  /// The same of a vector that stands beside a layer's weight: "fc.bias" of "fc.weight".
  Variable parameter_beside(const Variable& weight, const char* name, const OnnxConstant& numbers);
  /// Numbers that are no layer's: learned, as those of PyTorch's modules are. Where exporters wrote equal
  /// ones once, each is its own.
  Variable numbers_beside(const OnnxNode& node, OnnxConstant numbers, const Shape& shape, size_t input);
  /// What a node's layer is called: "layer1.0.conv1", after the name of its weight, or of what follows that
  /// among its inputs, or its own.
  std::string layer_of(const OnnxNode& node, size_t weight);
  void add_buffer(const std::string& name, Tensor tensor);

  const std::filesystem::path& folder() const { return folder_; }
  NamedTensors take_tensors() { return std::move(tensors_); }
  void note_once(const std::string& line);
  std::vector<std::string> notes;
  int64_t opset = 17;  ///< of the file

  /// Whether a name that a node puts out is read by another, or is the network's output.
  bool is_read(const std::string& name) const { return read_.contains(name); }
  void set_read(std::set<std::string> names) { read_ = std::move(names); }

 private:
  std::filesystem::path folder_;
  std::map<std::string, OnnxConstant> constants_;
  std::map<std::string, OnnxValue> values_;
  std::map<std::string, Variable> parameters_;  // by the numbers they are of
  std::map<std::pair<const VariableState*, OnnxLayout>, Variable>
      arranged_;  // what was moved once is not again
  std::set<std::string> names_, layers_, read_;
  NamedTensors tensors_;
};

}  // namespace espalier
