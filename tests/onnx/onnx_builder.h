// ONNX files as exporters write them, for tests: a graph, put together node by node.
#pragma once

#include <onnx/onnx_pb.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace espalier {

class OnnxBuilder {
 public:
  using Attribute = std::variant<int64_t, float, std::string, std::vector<int64_t>>;
  using Attributes = std::vector<std::pair<std::string, Attribute>>;

  /// With an input "x" of these sizes; 0: open.
  explicit OnnxBuilder(const std::vector<int64_t>& sizes) {
    model.set_ir_version(8);
    model.add_opset_import()->set_version(17);
    graph().set_name("g");
    add_type(*graph().add_input(), "x", sizes);
  }

  onnx::GraphProto& graph() { return *model.mutable_graph(); }

  /// A node that puts out "y", or what is said.
  onnx::NodeProto& node(const std::string& op, const std::vector<std::string>& inputs,
                        const std::string& output, const Attributes& attributes = {}) {
    onnx::NodeProto& made = *graph().add_node();
    made.set_op_type(op);
    for (const std::string& input : inputs) made.add_input(input);
    made.add_output(output);
    for (const auto& [name, value] : attributes) {
      onnx::AttributeProto& to = *made.add_attribute();
      to.set_name(name);
      if (const auto* whole = std::get_if<int64_t>(&value)) {
        to.set_type(onnx::AttributeProto::INT);
        to.set_i(*whole);
      } else if (const auto* real = std::get_if<float>(&value)) {
        to.set_type(onnx::AttributeProto::FLOAT);
        to.set_f(*real);
      } else if (const auto* text = std::get_if<std::string>(&value)) {
        to.set_type(onnx::AttributeProto::STRING);
        to.set_s(*text);
      } else {
        to.set_type(onnx::AttributeProto::INTS);
        for (const int64_t one : std::get<std::vector<int64_t>>(value)) to.add_ints(one);
      }
    }
    return made;
  }

  onnx::TensorProto& floats(const std::string& name, const std::vector<int64_t>& sizes,
                            const std::vector<float>& values) {
    onnx::TensorProto& made = *graph().add_initializer();
    made.set_name(name);
    made.set_data_type(onnx::TensorProto::FLOAT);
    for (const int64_t size : sizes) made.add_dims(size);
    made.set_raw_data(values.data(), values.size() * sizeof(float));
    return made;
  }

  onnx::TensorProto& wholes(const std::string& name, const std::vector<int64_t>& values,
                            bool scalar = false) {
    onnx::TensorProto& made = *graph().add_initializer();
    made.set_name(name);
    made.set_data_type(onnx::TensorProto::INT64);
    if (!scalar) made.add_dims(static_cast<int64_t>(values.size()));
    for (const int64_t value : values) made.add_int64_data(value);
    return made;
  }

  void output(const std::string& name) { add_type(*graph().add_output(), name, {}); }

  std::string text() const { return model.SerializeAsString(); }
  void write(const std::filesystem::path& file) const { std::ofstream(file, std::ios::binary) << text(); }

  onnx::ModelProto model;

 private:
  static void add_type(onnx::ValueInfoProto& to, const std::string& name, const std::vector<int64_t>& sizes) {
    to.set_name(name);
    auto& type = *to.mutable_type()->mutable_tensor_type();
    type.set_elem_type(onnx::TensorProto::FLOAT);
    for (const int64_t size : sizes) {
      auto& dim = *type.mutable_shape()->add_dim();
      if (size > 0)
        dim.set_dim_value(size);
      else
        dim.set_dim_param("N");
    }
  }
};

}  // namespace espalier
