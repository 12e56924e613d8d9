// Graph: what a network computes, as a list of ops. It is traced from an example pass (trace.h) or read from
// a file (graph_json.h); MACs are counted on it, channels are coupled, and modules run it
// (nn/graph_module.h). What an op means stands in its row of the catalogue (op.h).
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "espalier/autograd/variable.h"

namespace espalier {

/// A value of a pass: an input, a parameter or an op's output.
struct GraphValue {
  Shape shape;
  std::string parameter;  ///< its name; empty for what is none
};

/// One op of a pass.
struct GraphNode {
  std::string op;
  std::vector<std::pair<std::string, Attribute>> attributes;
  std::vector<int>
      inputs;  ///< values by number, parameters too; absent (-1) where an optional one is left out
  int output;
  Channels channels;

  static constexpr int absent = -1;
  /// The inputs that are not left out.
  std::vector<int> present() const {
    std::vector<int> there;
    for (const int value : inputs)
      if (value != absent) there.push_back(value);
    return there;
  }
  /// Null if it has none of that name.
  const Attribute* attribute(std::string_view name) const;
};

/// The ops of a pass in their order: each reads what was there before it. Value 0 is the input, what the last
/// op puts out is the output.
struct Graph {
  std::vector<GraphValue> values;
  std::vector<GraphNode> nodes;
  std::string input_name = "images", output_name = "logits";

  bool is_parameter(int value) const { return !values[static_cast<size_t>(value)].parameter.empty(); }
  const Shape& shape(int value) const { return values[static_cast<size_t>(value)].shape; }
  /// The node that puts out this value; null for an input or a parameter.
  const GraphNode* maker_of(int value) const;
  /// The nodes that read this value, in order; one that reads it twice is there once.
  std::vector<const GraphNode*> readers_of(int value) const;
  /// The only node that reads this value, once and as its first input; null where there is none.
  const GraphNode* only_reader_of(int value) const;
  /// [H,W,C] of the images that it takes: value 0 without its batch.
  Shape image() const { return {shape(0)[1], shape(0)[2], shape(0)[3]}; }
  /// How many numbers its last op puts out for an image: [1,outputs].
  int64_t outputs() const { return shape(nodes.back().output)[1]; }
  /// The layer that a node is, by its first parameter: "conv1"; empty for one without.
  std::string layer_of(const GraphNode& node) const;
};

}  // namespace espalier
