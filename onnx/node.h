// A node of an ONNX graph: an op with the names of what it reads and puts out, and its attributes.
#pragma once

#include <onnx/onnx_pb.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace espalier {

struct OnnxNode {
  explicit OnnxNode(const onnx::NodeProto& proto);
  OnnxNode(std::string op, std::string name, std::vector<std::string> inputs, std::string output);

  std::string op, name;                      ///< "Conv", "/layer1/conv1/Conv"; the name may be empty
  std::vector<std::string> inputs, outputs;  ///< empty names: left out
  std::map<std::string, const onnx::AttributeProto*> attributes =
      {};  ///< the message's, which has to outlive it

  /// Its input of that number; empty where it is left out.
  const std::string& input(size_t i) const;
  bool has(size_t input) const { return !this->input(input).empty(); }
  const std::string& output() const { return outputs.front(); }
  /// Error where it has one of the name that is of another type.
  std::optional<int64_t> whole(const std::string& attribute) const;
  std::optional<float> real(const std::string& attribute) const;
  std::optional<std::string> text(const std::string& attribute) const;
  std::optional<std::vector<int64_t>> list(const std::string& attribute) const;
  const onnx::TensorProto* tensor(const std::string& attribute) const;
  /// "Conv '/layer1/conv1/Conv'", for messages.
  std::string str() const;

 private:
  const onnx::AttributeProto* find(const std::string& attribute, int type) const;
};

/// Only the nodes that `output` needs, in order.
std::vector<OnnxNode> needed_for(const std::string& output, std::vector<OnnxNode> nodes);

}  // namespace espalier
