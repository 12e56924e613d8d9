// What the ways to write ops (export_ops.cpp) work with while a network is written.
#pragma once

#include <onnx/onnx_pb.h>

#include <initializer_list>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "espalier/graph/op.h"
#include "espalier/nn/state_dict.h"
#include "espalier/onnx/export.h"

namespace espalier {

class OnnxExporter {
 public:
  /// How a value lies in the file.
  enum Lies : uint8_t {
    as_here,        ///< its axes as here
    image,          ///< [N,C,H,W] of [N,H,W,C]
    channels_first  ///< features [N,C pixels] of [N,pixels C], of a flattened image
  };
  using Inputs = std::vector<std::string>;
  using Attribute = std::variant<int64_t, float, std::vector<int64_t>, std::string>;
  using Attributes = std::vector<std::pair<const char*, Attribute>>;

  OnnxExporter(const Graph& graph, const NamedTensors& tensors, const OnnxExportOptions& options,
               onnx::GraphProto& to);

  const Graph& graph;
  const OnnxExportOptions& options;

  /// The name of a value in the file where it lies so; a Transpose makes it if need be.
  std::string value(int number, Lies lies);
  Lies lies(int number) const { return lies_.at(number); }
  /// Says what a node's output is called, and how it lies.
  void put(const GraphNode& node, std::string name, Lies lies);
  void put(int number, std::string name, Lies lies);

  /// Adds a node, and gives the name of its output.
  std::string add(const std::string& op, const Inputs& inputs, const Attributes& attributes = {});
  /// The same, called after the layer that `node` is.
  std::string add(const GraphNode& node, const std::string& op, const Inputs& inputs,
                  const Attributes& attributes = {});

  /// A parameter as the file has it: its name there.
  std::string parameter(int number);
  /// Its numbers, in the file's layout.
  const Tensor& tensor(int number) const;
  /// A parameter in another shape or order, `form`, under its name where that is free.
  std::string parameter_as(int number, const std::string& form, const Tensor& numbers);
  std::string constant(const std::string& name, const Tensor& numbers);
  std::string number(const std::string& name, float value) { return constant(name, Tensor::full({}, value)); }
  std::string sizes(const std::string& name, const std::vector<int64_t>& values);

  /// The batch norm that goes into this convolution; null for none.
  const GraphNode* folded_norm(const GraphNode& conv) const;

 private:
  std::string unique(std::string name);
  std::string stored(int number, const std::string& form, const Tensor& numbers);

  std::map<std::string, const Tensor*> tensors_;
  onnx::GraphProto& to_;
  std::map<int, Lies> lies_;
  std::map<std::pair<int, Lies>, std::string> values_;
  std::map<std::pair<int, std::string>, std::string> parameters_;  // by form
  std::set<int> named_;                                            // whose own name is given
  std::set<std::string> names_;
};

/// Writes a node of the graph. Null for an op that has no way to be written.
using OnnxWriter = void (*)(OnnxExporter& out, const OpCall& call);
OnnxWriter onnx_writer(const std::string& op);

}  // namespace espalier
